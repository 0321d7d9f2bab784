/* SPDX-License-Identifier: Apache-2.0 */
const map = L.map('viewer', { center: [0, 0], crs: L.CRS.Simple, zoom: 0, zoomControl: false, attributionControl: false });
const layer = L.tileLayer.iiif(location.hash.slice(1) + '/info.json').addTo(map);

window.view = () => {
  const full = layer.maxNativeZoom;
  const bounds = map.getBounds();
  const a = map.project(bounds.getNorthWest(), full);
  const b = map.project(bounds.getSouthEast(), full);
  return [a.x, a.y, b.x - a.x, b.y - a.y];
};
