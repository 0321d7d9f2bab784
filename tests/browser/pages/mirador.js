/* SPDX-License-Identifier: Apache-2.0
 * Mirador opens manifests: one of a single canvas is made here, for the version of the service. */
let mirador;

async function show() {
  const id = new URL(location.hash.slice(1), location.href).href;
  const info = await (await fetch(id + '/info.json')).json();
  const { width, height } = info;
  const image = id + '/full/max/0/default.jpg';
  const three = info.type === 'ImageService3';
  const manifest = three ? {
    '@context': 'http://iiif.io/api/presentation/3/context.json', id: 'urn:m', type: 'Manifest', label: { en: ['one'] },
    items: [{
      id: 'urn:c', type: 'Canvas', width, height,
      items: [{
        id: 'urn:p', type: 'AnnotationPage',
        items: [{
          id: 'urn:a', type: 'Annotation', motivation: 'painting', target: 'urn:c',
          body: { id: image, type: 'Image', format: 'image/jpeg', width, height, service: [{ id, type: 'ImageService3', profile: info.profile }] },
        }],
      }],
    }],
  } : {
    '@context': 'http://iiif.io/api/presentation/2/context.json', '@id': 'urn:m', '@type': 'sc:Manifest', label: 'one',
    sequences: [{
      '@type': 'sc:Sequence',
      canvases: [{
        '@id': 'urn:c', '@type': 'sc:Canvas', label: 'one', width, height,
        images: [{
          '@type': 'oa:Annotation', motivation: 'sc:painting', on: 'urn:c',
          resource: { '@id': image, '@type': 'dctypes:Image', width, height, service: { '@context': info['@context'], '@id': id, profile: info.profile[0] } },
        }],
      }],
    }],
  };
  const manifestId = URL.createObjectURL(new Blob([JSON.stringify(manifest)], { type: 'application/json' }));
  mirador = Mirador.viewer({
    id: 'viewer', windows: [{ manifestId, id: 'w', thumbnailNavigationPosition: 'off' }], osdConfig: { maxZoomPixelRatio: 8 },
    window: { allowTopMenuButton: false, sideBarPanel: null }, workspaceControlPanel: { enabled: false },
  });
}

/* Mirador keeps OpenSeadragon to itself, but its state holds centre and zoom; the canvas is the picture, one unit a pixel. */
window.view = () => {
  const at = mirador.store.getState().viewers.w;
  const shown = document.querySelector('.openseadragon-container').getBoundingClientRect();
  const width = 1 / at.zoom;
  const height = width * shown.height / shown.width;
  return [at.x - width / 2, at.y - height / 2, width, height];
};
show();
