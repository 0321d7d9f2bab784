/* SPDX-License-Identifier: Apache-2.0
 * The page's address ends with # and the picture's service. */
const viewer = OpenSeadragon({
  id: 'viewer', prefixUrl: '/openseadragon/images/', showNavigator: true, maxZoomPixelRatio: 4, animationTime: 0.6,
});

async function show() {
  const service = new URL(location.hash.slice(1), location.href);
  if (service.origin !== location.origin) return;
  const name = decodeURIComponent(service.pathname.split('/').pop());
  const info = await (await fetch(service + '/info.json')).json();
  document.title = name + ' · mod_iip';
  document.getElementById('name').textContent = name;
  document.getElementById('facts').textContent = `${info.width} × ${info.height}`;
  document.getElementById('information').href = service + '/info.json';
  document.getElementById('thumbnail').href = service + '/full/!400,400/0/default.jpg';
  document.getElementById('largest').href = service + '/full/max/0/default.jpg';
  viewer.open(service + '/info.json');
}

addEventListener('hashchange', show);
show();
