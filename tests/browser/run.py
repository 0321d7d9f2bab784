#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Viewers from npm and the demo's gallery in headless Chromium, over a real httpd with mod_iip. Screenshots stay in
build/browser/shots. Arguments: words; only scenarios with one of them in their name are played."""
import json
import os
import shutil
import signal
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'demo'))

import demo  # noqa: E402
import judge  # noqa: E402
import npm  # noqa: E402
import samples  # noqa: E402
from httpd import TOP  # noqa: E402
from PIL import Image  # noqa: E402

WORK = os.path.join(TOP, 'build', 'browser')
LIBRARIES = ('openseadragon/build/openseadragon/openseadragon.min.js', 'ol/dist/ol.js', 'ol/ol.css', 'leaflet/dist/leaflet.js',
             'leaflet/dist/leaflet.css', 'leaflet-iiif/leaflet-iiif.js', 'mirador/dist/mirador.min.js')
JOURNEY = [['zoom', 0.4, 0.45, 8], ['pan', 0.7, 0.6, 0.4, 0.35]]
VIEWERS = {  # what a screenshot is taken of
    'openseadragon': '#viewer', 'openlayers': '#viewer', 'leaflet': '#viewer', 'mirador': '.openseadragon-container',
}
PROTOCOLS = {'DeepZoom': '/deepzoom/', 'Zoomify': '/zoomify/', 'IIP': '/iip?'}  # that the gallery offers beside IIIF
# viewer, Location, picture
PLAYED = [(viewer, base, 'wall.tif') for viewer in VIEWERS for base in ('iiif', 'iiif2')] + [
    ('openseadragon', 'iiif', 'forest.tif'),
    ('openseadragon', 'iiif', 'cups.tif'),
    ('openseadragon', 'iiif', 'leaf.jpg'),
    ('openseadragon', 'iiif2', 'archive%2Fpier.tif'),
    ('openseadragon', 'folder', 'planks.tif'),
    ('openseadragon', 'deepzoom', 'wall.tif'),
    ('openseadragon', 'deepzoom', 'cups.tif'),
    ('openseadragon', 'zoomify', 'wall.tif'),
    ('openseadragon', 'zoomify', 'archive%2Fpier.tif'),
    ('openlayers', 'zoomify', 'wall.tif'),
    ('openseadragon', 'iip', 'wall.tif'),
    ('openseadragon', 'iip', 'cups.tif'),
    ('openlayers', 'iip', 'wall.tif'),
]


def configuration(parts):
    """The pages, and a place whose info.json is good and whose images are refused: what the checks must notice."""
    return f'''
Alias /pages {parts["pages"]}
<Location "/broken">
    SetHandler iiif-handler
    IIPRoot {parts["pictures"]}
</Location>
<LocationMatch "^/broken/.*/default[.]jpg$">
    Require all denied
</LocationMatch>
'''


def pages(target, modules):
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(os.path.join(HERE, 'pages'), target)
    os.mkdir(os.path.join(target, 'lib'))
    for path in LIBRARIES:
        shutil.copy(os.path.join(modules, path), os.path.join(target, 'lib'))


def photograph(name):
    """The picture as the package ships it, without any code of ours."""
    if name != 'wall.tif':
        photo = {**demo.PICTURES, **demo.FOLDER}[name.replace('%2F', '/')][1]
        return Image.open(samples.photograph(photo)).convert('RGB')
    wall = Image.new('RGB', (7680, 4800))
    for i, photo in enumerate(samples.PHOTOGRAPHS[:9]):
        wall.paste(Image.open(samples.photograph(photo)).convert('RGB'), (i % 3 * 2560, i // 3 * 1600))
    return wall


def play(server, scenarios):
    shots = os.path.join(WORK, 'shots')
    shutil.rmtree(shots, ignore_errors=True)
    os.makedirs(shots)
    job = {'playwright': os.path.join(WORK, 'npm', 'node_modules', 'playwright-core'), 'folder': shots, 'root': os.geteuid() == 0,
           'chromium': shutil.which('chromium') or '/usr/bin/chromium', 'patience': 40000, 'together': 3, 'scenarios': scenarios}
    with open(os.path.join(WORK, 'job.json'), 'w') as f:
        json.dump(job, f, indent=1)
    result = os.path.join(WORK, 'result.json')
    played = subprocess.run(['node', os.path.join(HERE, 'drive.js'), os.path.join(WORK, 'job.json'), result], timeout=900)
    if played.returncode:
        print('the browser did not play to the end\n0 passed, 1 failed')
        sys.exit(1)
    with open(result) as f:
        return {r['name']: r for r in json.load(f)}


def main():
    words = sys.argv[1:]
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a time limit ends the run in order too
    if not os.path.exists(demo.MODULE):
        print('build/mod_iip.so is missing: run make\n0 passed, 1 failed')
        sys.exit(1)
    quiet = (lambda *args, **kwargs: None)
    demo.prepare(quiet)
    modules = npm.install(HERE, os.path.join(WORK, 'npm'))
    pages(os.path.join(WORK, 'pages'), modules)
    with demo.serve({'pages': os.path.join(WORK, 'pages')}, configuration) as server:
        scenarios = [{'name': f'{viewer}-{base}-{picture.replace("%2F", "_")}', 'url': f'{server.url}/pages/{viewer}.html#/{base}/{picture}',
                      'shown': VIEWERS[viewer], 'views': True, 'steps': JOURNEY} for viewer, base, picture in PLAYED]
        scenarios += [
            {'name': 'gallery', 'url': server.url + '/', 'shown': 'main', 'steps': [['scroll']]},
            {'name': 'gallery-open', 'url': server.url + '/', 'shown': 'body', 'steps': [['click', '.card >> nth=1'], *JOURNEY]},
            {'name': 'gallery-folder', 'url': server.url + '/folder/', 'shown': 'main', 'steps': []},
            {'name': 'gallery-protocols', 'url': server.url + '/view.html#/iiif/boats.tif', 'shown': 'body',
             'steps': [['choose', '#protocol', protocol] for protocol in PROTOCOLS]},
            {'name': 'control-refused', 'url': f'{server.url}/pages/openseadragon.html#/broken/wall.tif', 'shown': '#viewer', 'steps': JOURNEY},
            {'name': 'control-missing', 'url': f'{server.url}/pages/openseadragon.html#/iiif/none.tif', 'shown': '#viewer', 'steps': []},
        ]
        scenarios = [s for s in scenarios if not words or any(w in s['name'] for w in words)]
        records = play(server, scenarios)
        log = server.log()
    passed = failed = 0

    def verdict(name, complaints):
        nonlocal passed, failed
        if complaints:
            failed += 1
            print(f'FAIL {name}')
            for c in complaints[:8]:
                print(f'       {c}')
        else:
            passed += 1
            print(f'ok   {name}')

    for viewer, base, picture in PLAYED:
        record = records.get(f'{viewer}-{base}-{picture.replace("%2F", "_")}')
        if not record:
            continue
        what = f'{viewer} over /{base}/{picture}'
        truth = photograph(picture)
        verdict(f'{what}: every request answered 200', judge.loaded(record, server.url))
        verdict(f'{what}: zooms in and pans', judge.moved(record))
        verdict(f'{what}: shows the picture', judge.pictured(record, truth))
        if record is records.get('openseadragon-iiif-wall.tif'):  # the same judge must refuse a rectangle elsewhere
            elsewhere = {**record, 'stages': [{**s, 'view': [s['view'][0] + 2560, *s['view'][1:]]} for s in record['stages'] if s['view']]}
            verdict('control: another part of the picture is noticed',
                    [] if len(judge.pictured(elsewhere, truth)) >= 3 else ['the comparison accepts anything'])
    for name, cards in (('gallery', len(demo.PICTURES) + len(demo.FOLDER)), ('gallery-folder', len(demo.FOLDER))):
        if name in records:
            complaints = judge.loaded(records[name], server.url)
            seen = [src for src, width in records[name]['stages'][-1]['images'] if width > 0]
            if len(seen) != cards:
                complaints.append(f'{len(seen)} of {cards} thumbnails have pixels')
            verdict(f'{name}: every thumbnail is there', complaints)
    if 'gallery-open' in records:
        record = records['gallery-open']
        complaints = judge.loaded(record, server.url)
        if record['stages'] and judge.colours(record['stages'][-1]['shot']) < judge.BLANK:
            complaints.append('blank')
        if len(images := judge.images(record)) < 12:
            complaints.append(f'only {len(images)} images asked for')
        verdict('gallery: a picture opens and zooms', complaints)
    if 'gallery-protocols' in records:
        record = records['gallery-protocols']
        complaints = judge.loaded(record, server.url)
        for stage, protocol in enumerate(PROTOCOLS, 1):
            if not any(PROTOCOLS[protocol] in url for url in judge.images(record, stage)):
                complaints.append(f'no tile by {protocol}')
            elif judge.colours(record['stages'][stage]['shot']) < judge.BLANK:
                complaints.append(f'{protocol}: blank')
        verdict('gallery: the same picture by other protocols', complaints)
    if 'control-refused' in records:
        record = records['control-refused']
        verdict('control: refused tiles are noticed', [] if any('403' in c for c in judge.loaded(record, server.url)) else ['not noticed'])
        verdict('control: a blank viewer is noticed', [] if judge.colours(record['stages'][-1]['shot']) < judge.BLANK else ['not noticed'])
    if 'control-missing' in records:
        verdict('control: a missing picture is noticed',
                [] if any('404' in c for c in judge.loaded(records['control-missing'], server.url)) else ['not noticed'])
    bad = [line for line in log.splitlines() if any(w in line for w in ('exit signal', ':emerg', ':alert', ':crit', 'AddressSanitizer'))]
    verdict('httpd: nothing grave in its log', bad)
    print(f'{passed} passed, {failed} failed')
    sys.exit(1 if failed or not passed else 0)


if __name__ == '__main__':
    main()
