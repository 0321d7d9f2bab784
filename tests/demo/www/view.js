/* SPDX-License-Identifier: Apache-2.0
 * The page's address ends with # and the picture's service. Those of the archive can be had by other protocols too. */
const viewer = OpenSeadragon({
  id: 'viewer', prefixUrl: '/openseadragon/images/', showNavigator: true, maxZoomPixelRatio: 4, animationTime: 0.6,
});
const protocol = document.getElementById('protocol');
const sources = {
  IIIF: ({ service }) => service + '/info.json',
  DeepZoom: ({ path }) => `/deepzoom/${path}.dzi`,
  Zoomify: ({ path, width, height }) => ({ type: 'zoomifytileservice', width, height, tilesUrl: `/zoomify/${path}/` }),
  IIP: ({ path }) => ({ iipsrv: '/iip', image: path }),
};
let picture;

for (const name of Object.keys(sources)) protocol.add(new Option(name));
protocol.onchange = () => viewer.open(sources[protocol.value](picture));

async function show() {
  const service = new URL(location.hash.slice(1), location.href);
  if (service.origin !== location.origin) return;
  const name = decodeURIComponent(service.pathname.split('/').pop());
  const { width, height } = await (await fetch(service + '/info.json')).json();
  const [, path] = service.pathname.match(/^\/iiif\/(.*)/) || [];
  picture = { service, path, width, height };
  document.title = name + ' · mod_iip';
  document.getElementById('name').textContent = name;
  document.getElementById('facts').textContent = `${width} × ${height}`;
  document.getElementById('information').href = service + '/info.json';
  document.getElementById('thumbnail').href = service + '/full/!400,400/0/default.jpg';
  document.getElementById('largest').href = service + '/full/max/0/default.jpg';
  protocol.hidden = !path;
  protocol.value = 'IIIF';
  protocol.onchange();
}

addEventListener('hashchange', show);
show();
