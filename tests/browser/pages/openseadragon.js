/* SPDX-License-Identifier: Apache-2.0
 * Each page: # and a service opens it; view() tells which rectangle of the picture #viewer shows. */
const viewer = OpenSeadragon({
  id: 'viewer', tileSources: location.hash.slice(1) + '/info.json', showNavigationControl: false, maxZoomPixelRatio: 8,
});

window.view = () => {
  const r = viewer.world.getItemAt(0).viewportToImageRectangle(viewer.viewport.getBounds(true));
  return [r.x, r.y, r.width, r.height];
};
