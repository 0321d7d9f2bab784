/* SPDX-License-Identifier: Apache-2.0 */
let map;
const [, base, picture] = location.hash.match(/^#\/([^/]+)\/(.*)$/);
const text = async (path) => (await fetch(path)).text();
const sources = {
  zoomify: async () => {
    const of = (await text(`/zoomify/${picture}/ImageProperties.xml`)).split('"').map(Number);
    return new ol.source.Zoomify({ url: `/zoomify/${picture}/`, size: [of[1], of[3]], tileSize: of[11] });
  },
  iip: async () => {
    const answer = await text(`/iip?FIF=${picture}&OBJ=Max-size&OBJ=Tile-size`);
    const of = (name) => answer.split(name + ':')[1].split('\r\n')[0].split(' ').map(Number);
    return new ol.source.Zoomify({ url: `/iip?FIF=${picture}&JTL={z},{tileIndex}`, size: of('Max-size'), tileSize: of('Tile-size')[0] });
  },
};

async function iiif() {
  const info = JSON.parse(await text(location.hash.slice(1) + '/info.json'));
  return new ol.source.IIIF(new ol.format.IIIFInfo(info).getTileSourceOptions());
}

async function show() {
  const source = await (sources[base] || iiif)();
  const grid = source.getTileGrid();
  map = new ol.Map({
    target: 'viewer', controls: [], pixelRatio: 1, layers: [new ol.layer.Tile({ source })],
    view: new ol.View({ resolutions: grid.getResolutions(), extent: grid.getExtent(), constrainOnlyCenter: true }),
  });
  map.getView().fit(grid.getExtent());
}

window.view = () => {
  const [left, bottom, right, top] = map.getView().calculateExtent(map.getSize());
  return [left, -top, right - left, top - bottom];
};
show();
