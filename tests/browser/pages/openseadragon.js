/* SPDX-License-Identifier: Apache-2.0
 * Each page: # and a service opens it, its first segment names the protocol where it is not IIIF; view() tells which
 * rectangle of the picture #viewer shows. */
const [, base, picture] = location.hash.match(/^#\/([^/]+)\/(.*)$/);
const sources = {
  deepzoom: async () => `/deepzoom/${picture}.dzi`,
  zoomify: async () => {
    const xml = new DOMParser().parseFromString(await (await fetch(`/zoomify/${picture}/ImageProperties.xml`)).text(), 'text/xml');
    const of = (name) => Number(xml.documentElement.getAttribute(name));
    return { type: 'zoomifytileservice', width: of('WIDTH'), height: of('HEIGHT'), tileSize: of('TILESIZE'), tilesUrl: `/zoomify/${picture}/` };
  },
  iip: async () => ({ iipsrv: '/iip', image: picture }),
};
const viewer = OpenSeadragon({ id: 'viewer', showNavigationControl: false, maxZoomPixelRatio: 8 });

window.view = () => {
  const r = viewer.world.getItemAt(0).viewportToImageRectangle(viewer.viewport.getBounds(true));
  return [r.x, r.y, r.width, r.height];
};
(sources[base] || (async () => location.hash.slice(1) + '/info.json'))().then((source) => viewer.open(source));
