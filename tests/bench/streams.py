#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""make bench, third part: JPEG 2000. Tiles of the picture of nine photographs beside iipimage-server and beside plain OpenJPEG
(opj_decompress of that area), what of the file is read, HT beside MQ coding; windows of a JPIP channel beside a static httpd
that serves the same bytes. Prints a table and writes tests/bench/streams.md, which the README quotes."""
import contextlib
import http.client
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'demo'))
sys.path.insert(0, HERE)

import samples  # noqa: E402
import sources  # noqa: E402
from bench import IIPSRV, TILE, TOP, WALL, WORK, cpu, fetch_all, iiif, iipsrv, memory, ours, session, start  # noqa: E402
from httpd import within_reach  # noqa: E402

LONE, SESSION, WINDOWS = 8, 60, 200
OPJ = 'opj_compress -p RPCL -PLT -n 6 -r 16'
FILES = {
    'halving.jp2': (OPJ + ' -c [256,256]', 'precincts of 256 that halve with the levels'),
    'steady.jp2': (OPJ + ' -c [256,256],[256,256],[128,128],[128,128],[128,128],[128,128]', 'precincts of 256, then of 128'),
    'none.jp2': (OPJ, 'no precincts'),
}
CODINGS = {'mq.jp2': 'grk_compress -n 5', 'ht.jp2': 'grk_compress -M 64 -n 5'}


def make(folder):
    """The files, each once."""
    os.makedirs(folder, exist_ok=True)
    sources.make(os.path.join(WORK, 'sources'))
    wall, small = os.path.join(WORK, 'sources', '.wall.ppm'), os.path.join(folder, '.small.ppm')
    if not os.path.exists(small):
        samples.vips('copy', samples.photograph(samples.PHOTOGRAPHS[0]), small + '.part.ppm')
        os.rename(small + '.part.ppm', small)
    made = []
    for name, command in [(n, c) for n, (c, _) in FILES.items()] + list(CODINGS.items()):
        path, key, words = os.path.join(folder, name), os.path.join(folder, '.' + name + '.command'), command.split()
        if not shutil.which(words[0]):
            continue
        if not os.path.exists(path) or not os.path.exists(key) or open(key).read() != command:
            part = os.path.join(folder, '.part-' + name)
            done = subprocess.run([*words, '-i', small if name in CODINGS else wall, '-o', part], capture_output=True, text=True)
            if done.returncode or not os.path.exists(part):
                print(f'  {name}: {done.stderr.strip()[:200]}')
                continue
            os.rename(part, path)
            with open(key, 'w') as f:
                f.write(command)
        made.append(name)
    return made


def lone():
    """Tiles far apart, of all levels but most of the finest."""
    dice, out = random.Random(5), []
    while len(out) < LONE:
        scale = 1 << dice.choice((0, 0, 0, 1, 2))
        out.append((scale, dice.randrange(WALL[0] // (TILE * scale)), dice.randrange(WALL[1] // (TILE * scale))))
    return out


def children_cpu():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def plain(path, tiles):
    """CPU milliseconds of opj_decompress for a tile's area."""
    before = children_cpu()
    for scale, column, row in tiles:
        x, y, n = column * TILE * scale, row * TILE * scale, TILE * scale
        subprocess.run(['opj_decompress', '-i', path, '-o', os.path.join(WORK, 'area.ppm'), '-r', str(scale.bit_length() - 1), '-d',
                        f'{x},{y},{min(x + n, WALL[0])},{min(y + n, WALL[1])}'], check=True, capture_output=True)
    return (children_cpu() - before) / len(tiles) * 1e3


def served(server, paths):
    """CPU milliseconds of a server for an answer; anything but 200 ends it."""
    before = cpu(server.pid)
    bad = [a for a in fetch_all(server, paths) if a[0] != 200]
    if bad:
        sys.exit(f'{len(bad)} answers, of {paths[0]} ...: {bad[0][:2]}')
    return (cpu(server.pid) - before) / len(paths) * 1e3


def bytes_read(folder, name, tile):
    """Bytes of the file read for one tile by a process that starts, index included."""
    trace = os.path.join(WORK, 'trace')
    subprocess.run(['strace', '-f', '-e', 'trace=pread64', '-o', trace, os.path.join(TOP, 'build', 'iip'), '-r', folder, '-o', os.devnull],
                   input=f'/{name}/{iiif(tile)}\n', text=True, check=True, capture_output=True)
    with open(trace) as f:
        return sum(int(v) for v in re.findall(r'pread64\(.*\) = (\d+)', f.read()))


def tiles_table(stack, run, folder, made):
    lines = ['| file | tile alone: CPU ms | x OpenJPEG | x iipsrv | of a session: CPU ms | x iipsrv | peak MB | x iipsrv | read kB |',
             '|------|------:|------:|------:|------:|------:|------:|------:|------:|']
    alone, walk = lone(), session()[:SESSION]
    for name in [n for n in FILES if n in made]:
        cold = start(stack, run, 'cold-' + name, lambda f: ours(folder, 'IIPCacheSize 0 0'))
        warm = start(stack, run, 'warm-' + name, lambda f: ours(folder))
        peer = start(stack, run, 'peer-' + name, lambda f: iipsrv(folder, f, 0), ('alias',), None)
        one, other = ([f'/iiif/{name}/{iiif(t)}' for t in list_] for list_ in (alone, walk))
        a, b, c, d = served(cold, one), served(peer, one), served(warm, other), served(peer, other)
        read = max(bytes_read(folder, name, t) for t in alone[:4])
        m, n = memory(warm.pid), memory(peer.pid)
        lines.append(f'| {FILES[name][1]} | {a:.0f} | {a / plain(os.path.join(folder, name), alone):.2f} | {a / b:.2f} | {c:.0f} | {c / d:.2f} | '
                     f'{m / 1e6:.0f} | {m / n:.2f} | {read / 1e3:.0f} |')
    return '\n'.join(lines)


def coding_line(folder, made):
    if not all(n in made for n in CODINGS):
        return 'HT beside MQ coding: grk_compress is missing.'
    took = {}
    for name in CODINGS:
        before = children_cpu()
        subprocess.run([os.path.join(TOP, 'build', 'iip'), '-r', folder, '-s', 'IIPCacheSize 0 0', '-o', os.devnull],
                       input=f'/{name}/full/max/0/default.jpg\n', text=True, check=True, capture_output=True)
        took[name] = children_cpu() - before
    return (f'A lossless photograph of 2560 x 1600 as one JPEG: {took["ht.jp2"]:.2f} s of CPU in HT, {took["mq.jp2"]:.2f} s in MQ coding, '
            f'{took["ht.jp2"] / took["mq.jp2"]:.2f} of it.')


def windows():
    dice = random.Random(8)
    for _ in range(WINDOWS):
        down = dice.choice((0, 0, 1, 2, 3))
        w, h = -(-WALL[0] // (1 << down)), -(-WALL[1] // (1 << down))
        yield f'fsiz={w},{h}&roff={dice.randrange(w - 512)},{dice.randrange(h - 512)}&rsiz=512,512'


def channel(server, name):
    """(bodies, seconds, CPU seconds) of a channel's windows."""
    link = http.client.HTTPConnection('127.0.0.1', server.port, timeout=60)

    def get(target):
        link.request('GET', target)
        answer = link.getresponse()
        body = answer.read()
        if answer.status != 200:
            sys.exit(f'{target}: {answer.status}')
        return answer, body

    answer, _ = get(f'/jpip/{name}?cnew=http&type=jpp-stream&stream=0')
    cid = re.match('cid=([^,]+)', answer.headers['JPIP-cnew'])[1]
    before, began = cpu(server.pid), time.time()
    bodies = [get(f'/jpip/{name}?cid={cid}&{w}')[1] for w in windows()]
    return bodies, time.time() - began, cpu(server.pid) - before


def jpip_line(stack, run, folder, name):
    files = os.path.join(run, 'bodies')
    os.mkdir(files)
    os.chmod(files, 0o755)
    live = start(stack, run, 'jpip', lambda f: f'<Location "/jpip">\nSetHandler jpip-handler\nIIPRoot {folder}\n</Location>\n', ('socache_shmcb',))
    bodies, seconds, used = channel(live, name)
    for i, body in enumerate(bodies):
        with open(os.path.join(files, f'{i}.jpp'), 'wb') as f:
            f.write(body)
        os.chmod(f.name, 0o644)
    still = start(stack, run, 'still', lambda f: f'DocumentRoot {files}\n<Directory {files}>\nRequire all granted\nAllowOverride None\n</Directory>\n', (), None)
    before, began = cpu(still.pid), time.time()
    fetch_all(still, [f'/{i}.jpp' for i in range(len(bodies))])
    floor, floor_used = time.time() - began, cpu(still.pid) - before
    mean = sum(map(len, bodies)) / len(bodies)
    return (f'JPIP: {WINDOWS} windows of 512 x 512 at random places and resolutions in one channel over one connection ({mean / 1e3:.0f} kB each): '
            f'{WINDOWS / seconds:.0f} windows a second, {used / WINDOWS * 1e3:.2f} ms of CPU each; a static httpd with the same bytes: '
            f'{WINDOWS / floor:.0f}, {floor_used / WINDOWS * 1e3:.2f} ms.')


def main():
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = os.path.join(WORK, 'streams')
    made = make(folder)
    with contextlib.ExitStack() as stack:
        run, parts = stack.enter_context(within_reach({'pictures': folder}, '/tmp', 'mod_iip-bench-'))
        pictures = parts['pictures']
        rows = tiles_table(stack, run, pictures, made) if os.path.exists(IIPSRV) else 'iipimage-server is missing.'
        coding, jpip = coding_line(pictures, made), jpip_line(stack, run, pictures, 'halving.jp2')
    text = f'''JPEG 2000: the picture of {WALL[0]} x {WALL[1]} pixels by `{OPJ} ...`, tiles of {TILE} x {TILE}, servers of {LONE} requests for tiles far apart
(no caches) and of the first {SESSION} of a viewer's session (usual caches); *x OpenJPEG*: CPU relative to `opj_decompress` of that area, *x iipsrv* to Debian's
iipimage-server. *Read*: most for one tile by a process that starts, packet index included.

{rows}

{coding}

{jpip}
'''
    print(text)
    with open(os.path.join(HERE, 'streams.md'), 'w') as f:
        f.write(text)


if __name__ == '__main__':
    main()
