#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""make demo: sample pictures, a private httpd with mod_iip, a gallery page. --once: start, look, stop (for tests).
All that is kept lies below build/demo; what one run needs lies in a folder of its own and is removed with it."""
import argparse
import contextlib
import fcntl
import html
import http.client
import json
import os
import shutil
import signal
import string
import sys
import time
import urllib.parse

import npm
import samples
from httpd import MODULE, TOP, Httpd, account, within_reach

DEMO = os.path.join(TOP, 'build', 'demo')
HERE = os.path.dirname(os.path.abspath(__file__))


def wall(part):
    """Nine photographs side by side: 7680 x 4800 pixels."""
    joined = part + '.v'
    try:
        samples.vips('arrayjoin', ' '.join(map(samples.photograph, samples.PHOTOGRAPHS[:9])), joined, '--across', '3')
        samples.vips('tiffsave', joined, part, *samples.pyramid('jpeg', '--Q', '88', '--bigtiff'))
    finally:
        if os.path.exists(joined):
            os.unlink(joined)


def copy(name):
    return lambda part: shutil.copyfile(samples.photograph(name), part), 'JPEG, as the package ships it', name


JPEG = samples.pyramid('jpeg', '--Q', '88')
# name below the folder: title, photograph (None: several), what the file is, how to make it
PICTURES = {
    'wall.tif': ('Nine photographs', None, 'BigTIFF, JPEG tiles, 7680 × 4800',
                 (wall, 'nine photographs side by side, BigTIFF, JPEG tiles', 'wall 1')),
    'boats.tif': ('Evening glow', 'EveningGlow', 'TIFF, JPEG tiles', samples.tiff('EveningGlow', 'JPEG tiles', *JPEG)),
    'forest.tif': ('Path', 'Path', 'TIFF, deflate, levels as SubIFDs',
                   samples.tiff('Path', 'deflate, SubIFDs', *samples.pyramid('deflate', '--predictor', 'horizontal', '--subifd'))),
    'leaf.jpg': ('Fallen leaf', 'FallenLeaf', 'plain JPEG', copy('FallenLeaf')),
    'plants.tif': ('One stands out', 'OneStandsOut', 'TIFF, Zstandard',
                   samples.tiff('OneStandsOut', 'Zstandard', *samples.pyramid('zstd'))),
    'facade.tif': ('Grey', 'Grey', 'TIFF, LZW, gray', samples.tiff('Grey', 'LZW, gray', *samples.pyramid('lzw'))),
    'cups.tif': ('Colorful cups', 'ColorfulCups', 'TIFF without tiles or levels',
                 samples.tiff('ColorfulCups', 'strips', '--compression', 'none')),
    'kite.tif': ('Kite', 'Kite', 'TIFF, WebP tiles', samples.tiff('Kite', 'WebP tiles', *samples.pyramid('webp', '--Q', '85'))),
    'archive/pier.tif': ('Cold ripple', 'ColdRipple', 'in a folder below the root: %2F in its address',
                         samples.tiff('ColdRipple', 'JPEG tiles', *JPEG)),
}
FOLDER = {  # the folder with a .htaccess
    'lake.jpg': ('Summer, 1 am', 'summer_1am', 'plain JPEG', copy('summer_1am')),
    'planks.tif': ('By the water', 'BytheWater', 'TIFF, JPEG tiles', samples.tiff('BytheWater', 'JPEG tiles', *JPEG)),
}
HTACCESS = '# all that this folder needs: its pictures are image services, everything else stays as it was\nSetHandler iiif-handler\n'


def cards(pictures, base):
    """The gallery's entries. An identifier is one path segment, so the slash in it is encoded."""
    with open(os.path.join(HERE, 'www', 'card.html')) as f:
        card = string.Template(f.read())
    out = []
    for name, (title, photo, kind, _) in pictures.items():
        by = samples.author(photo) if photo else 'several photographers'
        values = {'service': base + urllib.parse.quote(name, safe=''), 'title': title, 'kind': kind, 'author': by}
        out.append(card.substitute({k: html.escape(v) for k, v in values.items()}))
    return ''.join(out)


def write(path, text):
    with open(path + '.part', 'w') as f:
        f.write(text)
    os.rename(path + '.part', path)


def make_pages(www):
    os.makedirs(os.path.join(www, 'folder'), exist_ok=True)
    for name in ('style.css', 'view.html', 'view.js'):
        with open(os.path.join(HERE, 'www', name)) as f:
            write(os.path.join(www, name), f.read())
    for page, values in {
        'index.html': {'pictures': cards(PICTURES, '/iiif/'), 'folder': cards(FOLDER, '/folder/')},
        'folder/index.html': {'pictures': cards(FOLDER, '/folder/'), 'htaccess': html.escape(HTACCESS)},
    }.items():
        with open(os.path.join(HERE, 'www', page)) as f:
            write(os.path.join(www, page), string.Template(f.read()).substitute(values))
    write(os.path.join(www, 'folder', '.htaccess'), HTACCESS)


def prepare(say):
    """Everything below build/demo that runs share; one run at a time, a second one waits and then finds it done."""
    os.makedirs(DEMO, exist_ok=True)
    with open(os.path.join(DEMO, '.lock'), 'w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say('Another make demo is preparing the pictures; waiting for it.')
            fcntl.flock(lock, fcntl.LOCK_EX)
        say('OpenSeadragon (npm) ...')
        npm.install(HERE, os.path.join(DEMO, 'npm'))
        say('Pictures, from photographs of the package plasma-workspace-wallpapers ...')
        samples.make_all({n: p[3] for n, p in PICTURES.items()}, os.path.join(DEMO, 'pictures'), say)
        samples.make_all({n: p[3] for n, p in FOLDER.items()}, os.path.join(DEMO, 'www', 'folder'), say)
        make_pages(os.path.join(DEMO, 'www'))


def configuration(parts):
    return f'''
DocumentRoot {parts["www"]}
Alias /openseadragon {parts["openseadragon"]}
<Location "/iiif">
    SetHandler iiif-handler
    IIPRoot {parts["pictures"]}
</Location>
<Location "/iiif2">
    SetHandler iiif-handler
    IIPRoot {parts["pictures"]}
    IIIFVersions 2
</Location>
<Location "/deepzoom">
    SetHandler deepzoom-handler
    IIPRoot {parts["pictures"]}
</Location>
<Location "/zoomify">
    SetHandler zoomify-handler
    IIPRoot {parts["pictures"]}
</Location>
<Location "/iip">
    SetHandler iip-handler
    IIPRoot {parts["pictures"]}
</Location>
<Location "/jobs">
    SetHandler imgserve-handler
    IIPJobs On
    IIPJobAllowAnonymous On
    IIPStatus On
    IIPJobSourceSchemes file
    IIPJobSourceRoot {parts["pictures"]}
    IIPJobDestRoot {parts["made"]}
</Location>
IIPJobSpool {parts["spool"]}
Alias /made {parts["made"]}
<Directory {parts["made"]}>
    Require all granted
</Directory>
<Directory {parts["www"]}/folder>
    AllowOverride FileInfo
</Directory>
'''


@contextlib.contextmanager
def job_folders(run, parts):
    """Where jobs of this run wait, and where their results go."""
    parts.update(spool=os.path.join(run, 'spool'), made=os.path.join(run, 'made'))
    os.mkdir(parts['made'])
    if account():
        os.chown(parts['made'], account().pw_uid, account().pw_gid)
    yield


@contextlib.contextmanager
def serve(extra={}, more=lambda parts: ''):
    """httpd over build/demo; extra: more folders to serve, {name: path}; more: the text they need in the configuration."""
    mine = {'www': os.path.join(DEMO, 'www'), 'pictures': os.path.join(DEMO, 'pictures'),
            'openseadragon': os.path.join(DEMO, 'npm', 'node_modules', 'openseadragon', 'build', 'openseadragon')}
    with within_reach({**mine, **extra}, DEMO, 'run-') as (run, parts), \
            job_folders(run, parts), Httpd(run, configuration(parts) + more(parts), modules=('alias',)) as server:
        yield server


def look(server):
    """--once: page, viewer, information and tiles of each picture are there, over one kept connection, which shows an
    answer of a wrong length. Returns the number of failures."""
    failed = 0
    link = http.client.HTTPConnection('127.0.0.1', server.port, timeout=20)

    def expect(what, path, kind, good=lambda body: True):
        nonlocal failed
        try:
            link.request('GET', path)
            answer = link.getresponse()
            body = answer.read()
            got = answer.headers.get_content_type()
            ok = answer.status == 200 and got == kind and good(body)
            detail = f'{answer.status}, {got}, {len(body)} bytes'
        except (OSError, http.client.HTTPException) as e:
            ok, detail = False, repr(e)
            link.close()
        failed += not ok
        print(f'  {"ok  " if ok else "FAIL"} {what:<12} {path}  ({detail})')

    jpeg = (lambda b: b[:3] == b'\xff\xd8\xff' and b[-2:] == b'\xff\xd9')
    expect('gallery', '/', 'text/html', lambda b: b.count(b'class="card"') == len(PICTURES) + len(FOLDER))
    expect('viewer', '/openseadragon/openseadragon.min.js', 'text/javascript')
    expect('folder page', '/folder/', 'text/html', lambda b: b'SetHandler' in b)
    for base, names in (('/iiif/', PICTURES), ('/iiif2/', PICTURES), ('/folder/', FOLDER)):
        for name in names:
            service = base + urllib.parse.quote(name, safe='')
            kind = 'application/ld+json' if base != '/iiif2/' else 'application/json'
            expect('information', service + '/info.json', kind, lambda b: json.loads(b)['width'] >= 2560)
            expect('tile', service + '/512,256,256,256/256,/0/default.jpg', 'image/jpeg', jpeg)
            expect('edge tile', service + '/2048,1536,512,64/512,/0/default.jpg', 'image/jpeg', jpeg)
            expect('thumbnail', service + '/full/!400,400/0/default.jpg', 'image/jpeg', jpeg)
    for name in map(lambda n: urllib.parse.quote(n, safe=''), PICTURES):
        expect('description', f'/deepzoom/{name}.dzi', 'application/xml', lambda b: b'Overlap="0"' in b)
        expect('tile', f'/deepzoom/{name}_files/10/1_1.jpg', 'image/jpeg', jpeg)
        expect('description', f'/zoomify/{name}/ImageProperties.xml', 'application/xml', lambda b: b'NUMTILES=' in b)
        expect('tile', f'/zoomify/{name}/TileGroup0/2-1-1.jpg', 'image/jpeg', jpeg)
        expect('description', f'/iip?FIF={name}&OBJ=basic-info', 'application/vnd.netfpx', lambda b: b'Max-size:' in b)
        expect('tile', f'/iip?FIF={name}&JTL=2,4', 'image/jpeg', jpeg)
        expect('view', f'/iip?FIF={name}&WID=300&CVT=jpeg', 'image/jpeg', jpeg)
    failed += look_at_job(link)
    link.close()
    return failed


def job(name):
    return json.dumps({'operationType': 'resize', 'srcURL': f'file:///{name}', 'dstURL': 'file:///{$width}-{$basename}.jpg',
                       'args': {'width': 200, 'height': 120}})


def look_at_job(link):
    """A job posted is a placeholder at once, then done. Returns the number of failures."""
    link.request('POST', '/jobs', job('leaf.jpg'))
    reply = json.loads(link.getresponse().read())
    state = {}
    for _ in range(400):
        link.request('GET', reply.get('statusURL', '/jobs/none'))
        state = json.loads(link.getresponse().read())
        if state.get('state') in (None, 'done', 'failed'):
            break
        time.sleep(0.05)
    link.request('GET', '/made/200-leaf.jpg')
    answer = link.getresponse()
    ok = state.get('state') == 'done' and answer.status == 200 and len(answer.read()) == state['bytes']
    print(f'  {"ok  " if ok else "FAIL"} job          /jobs  ({reply}, {state})')
    return not ok


def announce(url):
    print(f'''
  Open  {url}/

  Try   curl {url}/iiif/boats.tif/info.json
        curl -o thumbnail.jpg '{url}/iiif/boats.tif/full/!400,400/0/default.jpg'
        curl -o detail.png '{url}/iiif/wall.tif/pct:40,40,20,20/800,/0/default.png'
        curl -o turned.jpg '{url}/iiif/archive%2Fpier.tif/square/600,/90/gray.jpg'
        curl {url}/iiif2/boats.tif/info.json
        curl {url}/folder/lake.jpg/info.json
        curl {url}/deepzoom/boats.tif.dzi
        curl {url}/zoomify/boats.tif/ImageProperties.xml
        curl -o view.jpg '{url}/iip?FIF=boats.tif&WID=600&RGN=.2,.3,.5,.5&CNT=1.2&CVT=jpeg'

        curl -d '{job("leaf.jpg")}' {url}/jobs
        curl -o job.jpg {url}/made/200-leaf.jpg

  Ctrl-C stops the server.
''', flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--once', action='store_true', help='start, fetch pages and pictures, stop; exit status tells')
    once = parser.parse_args().once
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # all three ends are one: KeyboardInterrupt
    if not os.path.exists(MODULE):
        sys.exit('build/mod_iip.so is missing: run make')
    try:
        prepare(print)
        with serve() as server:
            if once:
                failed = look(server)
                if failed:
                    print(server.log())
                sys.exit(f'{failed} failed' if failed else 0)
            announce(server.url)
            status = server.process.wait()
            sys.exit(f'httpd ended by itself ({status}):\n{server.log()}')
    except KeyboardInterrupt:
        print('\nStopped.')
    except (PermissionError, RuntimeError) as e:
        sys.exit(str(e))


if __name__ == '__main__':
    main()
