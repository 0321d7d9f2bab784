/* SPDX-License-Identifier: Apache-2.0 */
let map;

async function show() {
  const info = await (await fetch(location.hash.slice(1) + '/info.json')).json();
  const options = new ol.format.IIIFInfo(info).getTileSourceOptions();
  const source = new ol.source.IIIF(options);
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
