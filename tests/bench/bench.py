#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""make bench: mod_iip beside a static httpd and Debian's iipimage-server, in one run, rounds interleaved.
Prints a table and writes tests/bench/figures.md; --quick: short rounds, under a minute, prints only."""
import argparse
import contextlib
import http.client
import io
import json
import math
import os
import random
import resource
import shutil
import signal
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'demo'))

import jobs  # noqa: E402
import samples  # noqa: E402
import tail  # noqa: E402
from httpd import MODULE, TOP, Httpd, apxs, within_reach  # noqa: E402
from PIL import Image  # noqa: E402

WORK = os.path.join(TOP, 'build', 'bench')
IIPSRV = '/usr/lib/iipimage-server/iipsrv.fcgi'
CONNECTIONS = 8
SAMPLE = 48  # tiles that each writer encodes
PROCESSES = 2 * CONNECTIONS  # of iipsrv: mod_fcgid lets a request wait a whole second before it starts another process
WALL = (7680, 4800)
TILE = 256

# both children stay, no connection is closed on the way, sendfile as the static side wants it; equal for all
TUNING = '''
StartServers 2
ServerLimit 2
ThreadLimit 16
ThreadsPerChild 16
MinSpareThreads 1
MaxSpareThreads 32
MaxRequestWorkers 32
MaxConnectionsPerChild 0
MaxKeepAliveRequests 0
KeepAliveTimeout 60
EnableSendfile On
'''


# --- pictures and traces ---------------------------------------------------------------------------------------------

def corpus():
    """A wall of nine photographs as JPEG and as deflate pyramid, and 44 pyramids cut out of eleven photographs."""
    def wall(part, *options):
        joined = part + '.v'
        try:
            samples.vips('arrayjoin', ' '.join(map(samples.photograph, samples.PHOTOGRAPHS[:9])), joined, '--across', '3')
            samples.vips('tiffsave', joined, part, *options)
        finally:
            if os.path.exists(joined):
                os.unlink(joined)

    def cut(part, name, n):
        whole = part + '.v'
        try:
            samples.vips('crop', samples.photograph(name), whole, str(n % 2 * 320), str(n // 2 * 200), '2240', '1400')
            samples.vips('tiffsave', whole, part, *samples.pyramid('jpeg'))
        finally:
            if os.path.exists(whole):
                os.unlink(whole)

    def real(part):
        whole = part + '.v'
        try:
            samples.vips('linear', samples.photograph(samples.PHOTOGRAPHS[0]), whole, '0.00392156862', '0')
            samples.vips('tiffsave', whole, part, *samples.pyramid('none'))
        finally:
            if os.path.exists(whole):
                os.unlink(whole)

    jpeg, deflate = samples.pyramid('jpeg'), samples.pyramid('deflate', '--predictor', 'horizontal')
    recipes = {
        'jpeg.tif': (lambda part: wall(part, *jpeg), '7680 x 4800, JPEG tiles', 'jpeg 1'),
        'deflate.tif': (lambda part: wall(part, *deflate), '7680 x 4800, deflate tiles', 'deflate 1'),
        'float.tif': (real, '2560 x 1600, three floats a pixel', 'float 1'),
    }
    for name in samples.PHOTOGRAPHS:
        for n in range(4):
            recipes[f'{name}-{n}.tif'] = (lambda part, name=name, n=n: cut(part, name, n), '2240 x 1400, JPEG tiles', 'cut 1')
    samples.make_all(recipes, os.path.join(WORK, 'pictures'))
    return [f'{name}-{n}.tif' for name in samples.PHOTOGRAPHS for n in range(4)]


def session():
    """What a viewer of 1280 x 800 asks on its way: the whole, a zoom into a place level by level, three pans there; then
    the next place. (scale, column, row) of each tile, none twice: a viewer keeps what it has."""
    dice = random.Random(20)
    levels = math.ceil(math.log2(max(WALL) / TILE))
    seen = {}
    for _ in range(8):
        x, y = dice.random(), dice.random()
        for scale in [1 << n for n in range(levels, -1, -1)] + [1, 1, 1]:
            if scale == 1:
                x, y = (min(1, max(0, v + dice.uniform(-0.05, 0.05))) for v in (x, y))
            w, h = math.ceil(WALL[0] / scale), math.ceil(WALL[1] / scale)
            left, top = (max(0, round(p * n - v / 2)) for p, n, v in ((x, w, 1280), (y, h, 800)))
            for row in range(top // TILE, min(math.ceil(h / TILE), math.ceil((top + 800) / TILE))):
                for column in range(left // TILE, min(math.ceil(w / TILE), math.ceil((left + 1280) / TILE))):
                    seen[scale, column, row] = True
    return list(seen)


def iiif(tile):
    scale, column, row = tile
    x, y = column * TILE * scale, row * TILE * scale
    w, h = min(TILE * scale, WALL[0] - x), min(TILE * scale, WALL[1] - y)
    return f'{x},{y},{w},{h}/{math.ceil(w / scale)},{math.ceil(h / scale)}/0/default.jpg'


def regions():
    """Cut-outs anywhere, 600 to 3000 pixels wide, at 400."""
    dice = random.Random(9)
    for _ in range(60):
        w = dice.randrange(600, 3000)
        x, y = dice.randrange(WALL[0] - w), dice.randrange(WALL[1] - w)
        yield f'{x},{y},{w},{w * 2 // 3}/400,267'


def exports():
    """Cut-outs of 4000 pixels, as they lie."""
    dice = random.Random(4)
    return [f'{dice.randrange(WALL[0] - 4000)},{dice.randrange(WALL[1] - 2500)},4000,2500/4000,2500' for _ in range(8)]


def deepzoom(tile):
    scale, column, row = tile
    return f'_files/{math.ceil(math.log2(max(WALL))) - round(math.log2(scale))}/{column}_{row}.jpg'


def zoomify(tile):
    scale, column, row = tile
    return f'/TileGroup0/{math.ceil(math.log2(max(WALL) / TILE)) - round(math.log2(scale))}-{column}-{row}.jpg'


def iip(tile):
    scale, column, row = tile
    across = math.ceil(math.ceil(WALL[0] / scale) / TILE)
    return f'?FIF=jpeg.tif&JTL={math.ceil(math.log2(max(WALL) / TILE)) - round(math.log2(scale))},{row * across + column}'


# --- sides -----------------------------------------------------------------------------------------------------------

def ours(pictures, *more):
    lines = '\n'.join(more)
    places = (f'<Location "/{p}">\nSetHandler {p}-handler\nIIPRoot {pictures}\n</Location>\n' for p in ('iiif', 'deepzoom', 'zoomify', 'iip'))
    return f'{lines}\n{"".join(places)}'


def iipsrv(pictures, run, cache):
    env = {'FILESYSTEM_PREFIX': pictures + '/', 'URI_MAP': 'iiif=>IIIF', 'VERBOSITY': '0', 'LOGFILE': '/dev/null',
           'OMP_NUM_THREADS': '1', 'MAX_IMAGE_CACHE_SIZE': str(cache), 'JPEG_QUALITY': '75', 'MAX_CVT': '5000'}
    lines = '\n'.join(f'FcgidInitialEnv {k} "{v}"' for k, v in env.items())
    return f'''
LoadModule fcgid_module {apxs("LIBEXECDIR")}/mod_fcgid.so
FcgidIPCDir {run}/fcgid
FcgidProcessTableFile {run}/fcgid_shm
FcgidIdleTimeout 0
FcgidProcessLifeTime 0
FcgidMaxRequestsPerProcess 0
FcgidMaxProcesses {PROCESSES}
FcgidMaxProcessesPerClass {PROCESSES}
FcgidMinProcessesPerClass {PROCESSES}
FcgidSpawnScoreUpLimit 1000
{lines}
AliasMatch "^/(iiif/.*|iip$)" {IIPSRV}
<Directory {os.path.dirname(IIPSRV)}>
    SetHandler fcgid-script
    Options ExecCGI
</Directory>
'''


def start(stack, run, name, body, modules=(), module=MODULE):
    folder = os.path.join(run, name)
    os.mkdir(folder)
    os.chmod(folder, 0o755)
    return stack.enter_context(Httpd(folder, body(folder), modules=modules, tuning=TUNING, module=module))


def tail_sides(stack, run, pictures):
    return {'mod_iip': start(stack, run, 'tail', lambda folder: ours(pictures, 'IIPCacheSize 0 0')),
            'iipsrv': start(stack, run, 'iipsrv-tail', lambda folder: iipsrv(pictures, folder, 0), ('alias',), None)}


def tail_tiles():
    return [f'/iiif/deflate.tif/{iiif(t)}' for t in session()]


def fetch_all(server, paths):
    """[(status, type, body)] over one connection; status 0: the answer broke it."""
    link = http.client.HTTPConnection('127.0.0.1', server.port, timeout=60)
    out = []
    for path in paths:
        try:
            link.request('GET', path)
            answer = link.getresponse()
            out.append((answer.status, answer.headers.get_content_type(), answer.read()))
        except (http.client.HTTPException, OSError) as e:
            out.append((0, repr(e), b''))
            link.close()
    link.close()
    return out


# --- measuring -------------------------------------------------------------------------------------------------------

def tree(pid):
    """pid and all below it."""
    children = {}
    for name in os.listdir('/proc'):
        if name.isdigit():
            with contextlib.suppress(OSError):
                with open(f'/proc/{name}/stat') as f:
                    parent = int(f.read().rsplit(')', 1)[1].split()[1])
                children.setdefault(parent, []).append(int(name))
    out = [pid]
    for p in out:
        out += children.get(p, [])
    return out


def cpu(pid):
    """Seconds the tree has used, with those of children that ended."""
    ticks = 0
    for p in tree(pid):
        with contextlib.suppress(OSError):
            with open(f'/proc/{p}/stat') as f:
                ticks += sum(int(v) for v in f.read().rsplit(')', 1)[1].split()[11:15])
    return ticks / os.sysconf('SC_CLK_TCK')


def memory(pid):
    """Most bytes the tree has held: what is private to each process, what is shared once (that of the one with most), and how
    far each process was once above what it is now."""
    total = shared = 0
    for p in tree(pid):
        with contextlib.suppress(OSError):
            with open(f'/proc/{p}/smaps_rollup') as f:
                held = {line.split(':')[0]: int(line.split()[1]) for line in f if line.endswith('kB\n')}
            with open(f'/proc/{p}/status') as f:
                status = dict(line.split(':', 1) for line in f)
            total += held['Private_Clean'] + held['Private_Dirty']
            shared = max(shared, held['Shared_Clean'] + held['Shared_Dirty'])
            total += int(status['VmHWM'].split()[0]) - int(status['VmRSS'].split()[0])
    return (total + shared) * 1024


def load(server, listing, seconds, connections=CONNECTIONS):
    before = cpu(server.pid)
    done = subprocess.run(['wrk', '-t1', f'-c{connections}', f'-d{seconds}s', '--timeout', '20s', '-s', os.path.join(HERE, 'list.lua'),
                           server.url, '--', listing], capture_output=True, text=True, timeout=seconds + 60)
    if done.returncode:
        sys.exit(f'wrk: {done.stdout}{done.stderr}')
    got = json.loads(done.stdout.strip().splitlines()[-1])
    n = max(1, got['requests'])
    return {'rate': got['requests'] / got['seconds'], 'cpu': (cpu(server.pid) - before) / n * 1000, 'memory': memory(server.pid),
            'size': got['bytes'] / n, 'bad': got['refused'] + got['broken'], **{p: got[p] / 1000 for p in ('p50', 'p95', 'p99')}}


class Work:
    """One row group: a name, what its peers are, and for each side (server, paths)."""

    def __init__(self, name, note, sides):
        self.name, self.note, self.sides = name, note, sides
        self.rounds = {side: [] for side in sides}
        self.listing, self.sizes, self.wrong = {}, {}, {side: 0 for side in sides}

    def check(self):
        """Every path once on every side: 200, a JPEG, of the same size in pixels as on the others."""
        shapes = {}
        for side, (server, paths) in self.sides.items():
            self.listing[side] = os.path.join(server.folder, f'{self.name}.list'.replace(' ', '_'))
            with open(self.listing[side], 'w') as f:
                f.write('\n'.join(paths) + '\n')
            answers = fetch_all(server, paths)
            self.sizes[side] = sum(len(body) for _, _, body in answers) / len(answers)
            for i, (status, kind, body) in enumerate(answers):
                good = status == 200 and kind == 'image/jpeg'
                shape = Image.open(io.BytesIO(body)).size if good else None
                if not good or shapes.setdefault(i, shape) != shape:
                    self.wrong[side] += 1
                    if self.wrong[side] == 1:
                        print(f'  {self.name}, {side}: {paths[i]} gives {status} {kind} {shape}, elsewhere {shapes.get(i)}')

    def middle(self, side, key):
        return statistics.median(r[key] for r in self.rounds[side])

    def ratio(self, side, peer, key):
        """Median of the ratios of each round."""
        if peer not in self.sides or side == peer:
            return None
        return statistics.median(a[key] / b[key] if b[key] else math.inf for a, b in zip(self.rounds[side], self.rounds[peer]))


def table(works):
    head = ('work', 'side', 'req/s', 'x static', 'x iipsrv', 'p50 ms', 'p95 ms', 'p99 ms', 'CPU ms per 1000', 'CPU x static', 'CPU x iipsrv',
            'peak MB', 'bytes', 'not 200')
    rows = [head]
    for w in works:
        for side in w.sides:
            m = (lambda key, w=w, side=side: w.middle(side, key))
            r = (lambda peer, key, w=w, side=side: '' if (v := w.ratio(side, peer, key)) is None else f'{v:.2f}')
            bad = sum(x['bad'] for x in w.rounds[side]) + w.wrong[side]
            rows.append((w.name, side, f'{m("rate"):.0f}', r('static', 'rate'), r('iipsrv', 'rate'), *(f'{m(p):.2f}' for p in ('p50', 'p95', 'p99')),
                         f'{m("cpu") * 1000:.0f}', r('static', 'cpu'), r('iipsrv', 'cpu'), f'{max(x["memory"] for x in w.rounds[side]) / 1e6:.0f}',
                         f'{w.sizes[side]:.0f}', str(bad)))
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = ['| ' + ' | '.join(v.ljust(n) if i < 2 else v.rjust(n) for i, (v, n) in enumerate(zip(row, widths))) + ' |' for row in rows]
    lines.insert(1, '|' + '|'.join('-' * (n + 2) if i < 2 else '-' * (n + 1) + ':' for i, n in enumerate(widths)) + '|')
    return '\n'.join(lines)


# --- writers ---------------------------------------------------------------------------------------------------------

FORMATS = ('jpg', 'png', 'webp', 'avif', 'tif', 'jp2', 'gif', 'pdf')  # by their extensions; those not built are left out


def children_cpu():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def writers(pictures, tiles, rounds):
    """[(format, mean bytes, CPU microseconds of its writer)] over whole tiles of the deflate pyramid, made by build/iip. JPEG's
    writer is timed by the tool itself, least of all rounds for each tile; another takes as much more as the whole run does."""
    sizes, runs, first = {}, {}, [math.inf] * len(tiles)
    for _ in range(rounds):
        for fmt in FORMATS:
            lines = ''.join(f'/deflate.tif/{iiif(t)[:-3]}{fmt}\n' for t in tiles)
            before = children_cpu()
            done = subprocess.run([os.path.join(TOP, 'build', 'iip'), '-r', pictures, '-t', '-s', 'IIPCacheSize 0 64M', '-o', os.devnull],
                                  input=lines, capture_output=True, text=True, timeout=120)
            took = (children_cpu() - before) / len(tiles) * 1e6
            heads = [line.split() for line in done.stderr.splitlines() if line[:3].isdigit()]
            times = [line.split() for line in done.stderr.splitlines() if line.startswith('  open ')]
            if len(times) == len(tiles) and all(h[0] == '200' for h in heads):
                sizes[fmt] = statistics.mean(int(h[2]) for h in heads)
                runs[fmt] = min(took, runs.get(fmt, math.inf))
                if fmt == FORMATS[0]:
                    first = [min(old, float(t[t.index('encode') + 1]) * 1000) for old, t in zip(first, times)]
    jpeg = statistics.mean(first)
    return [(fmt, size, runs[fmt] - runs[FORMATS[0]] + jpeg) for fmt, size in sizes.items()]


def writer_table(rows):
    _, size, took = rows[0]
    return '\n'.join(['| format | bytes | x JPEG | CPU us | x JPEG |', '|--------|------:|-------:|-------:|-------:|',
                      *(f'| {fmt} | {n:.0f} | {n / size:.2f} | {t:.0f} | {t / took:.1f} |' for fmt, n, t in rows)])


def version(package):
    done = subprocess.run(['dpkg-query', '-W', '-f', '${Version}', package], capture_output=True, text=True)
    return done.stdout or 'none'


def report(works, mixed, made, taken, rounds, seconds, busy):
    with open('/proc/cpuinfo') as f:
        model = next((line.split(':', 1)[1].strip() for line in f if line.startswith('model name')), 'unknown processor')
    goals = [('warm tile', 'static', 'rate', 1.0), ('cold tile, JPEG', 'static', 'rate', 0.95), ('thumbnails', 'iipsrv', 'rate', 2.5),
             ('region export', 'iipsrv', 'cpu', 0.55), ('export 1:1', 'iipsrv', 'cpu', 0.75)]
    by_name = {w.name: w for w in works}
    lines = [f'- {name}: {by_name[name].ratio("mod_iip", peer, key):.2f}x {peer}{", CPU" if key == "cpu" else ""}, to reach {goal:.2f}x' for name, peer, key, goal in goals]
    return f'''# Figures of `make bench`

{model}, {os.cpu_count()} cores, server and client on the same machine; httpd {version("apache2-bin")} (event, 2 children), iipimage-server
{version("iipimage-server")} behind mod_fcgid ({PROCESSES} processes allowed, one thread each), wrk with {CONNECTIONS} connections kept alive.
{rounds} rounds of {seconds} s for each row, interleaved; figures are medians over the rounds, ratios medians of each round's ratio.
Load average before the run: {busy:.1f}.{" Other programs took part of the cores: CPU is to be trusted, throughput and latency are not." if busy > 0.7 else ""}

{table(works)}

Throughput (or CPU) against the goals:

{chr(10).join(lines)}

Rows:

{chr(10).join(f"- *{w.name}*: {w.note}" for w in works)}

Tail: {tail.CLIENTS} clients, each asking one after the other for tiles of the deflate pyramid, without caches; then the same where
every {tail.EVERY}th request of each is a JPEG of {tail.SIDE} x {tail.SIDE} pixels. To reach: p50 3x and p99 10x at most.

{mixed}

Writers, each at its usual quality (JPEG 75), on {SAMPLE} of the session's tiles of {TILE} x {TILE} pixels: mean bytes, and CPU for encoding alone.

{writer_table(made)}

Image jobs, from files to files, without placeholders: CPU and peak memory of a job's processes (without what they share with
their runner); jobs that one client hands in, each on the disk before its reply.

{taken}

*static* serves the bytes of mod_iip's own answers as files in one folder, with sendfile and a written `AllowOverride None`.
*CPU* is user and system time of the whole process tree of a side. *peak* is private memory plus shared pages once.
*bytes* is the mean body. *not 200* counts answers with another status, broken connections, and pictures of another size than the other sides give.
'''


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--quick', action='store_true', help='2 rounds of 1 s; prints, writes nothing to the tree')
    parser.add_argument('--rounds', type=int)
    parser.add_argument('--seconds', type=int)
    args = parser.parse_args()
    rounds, seconds = args.rounds or (2 if args.quick else 5), args.seconds or (1 if args.quick else 3)
    for need, package in (('wrk', 'wrk'), ('vips', 'libvips-tools'), (IIPSRV, 'iipimage-server'),
                          (os.path.join(apxs('LIBEXECDIR'), 'mod_fcgid.so'), 'libapache2-mod-fcgid')):
        if not shutil.which(need) and not os.path.exists(need):
            sys.exit(f'{need} is missing: install the package {package}')
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    busy = os.getloadavg()[0]
    small = corpus()
    tiles = session()
    with contextlib.ExitStack() as stack:
        # a short path: the sockets of mod_fcgid lie in it
        run, parts = stack.enter_context(within_reach({'pictures': os.path.join(WORK, 'pictures')}, '/tmp', 'mod_iip-bench-'))
        pictures = parts['pictures']

        # mod_iip has a server for each row, so that its memory is that of this work alone; iipsrv has one for all that is
        # cold, as processes that have seen only tiles use half as much CPU again (malloc has not adapted)
        def mod_iip(name, *more):
            return start(stack, run, name, lambda folder: ours(pictures, *more))

        def peer(name, cache):
            return start(stack, run, 'iipsrv-' + name, lambda folder: iipsrv(pictures, folder, cache), ('alias',), None)

        peer_cold = peer('cold', 0)

        def cold(name, paths):
            return {'mod_iip': (mod_iip(name, 'IIPCacheSize 0 0'), paths), 'iipsrv': (peer_cold, paths)}

        def processed(commands):
            return [f'/iip?FIF=float.tif&{commands}&JTL=4,{n}' for n in range(70)]

        jpeg = [f'/iiif/jpeg.tif/{iiif(t)}' for t in tiles]
        deflate = [f'/iiif/deflate.tif/{iiif(t)}' for t in tiles]
        files = os.path.join(run, 'files')
        os.makedirs(os.path.join(files, 'tiles'))
        warm = mod_iip('warm')
        for path, (_, _, body) in zip(tiles, fetch_all(warm, jpeg)):
            with open(os.path.join(files, 'tiles', '{}-{}-{}.jpg'.format(*path)), 'wb') as f:
                f.write(body)
        whole = [i for i, t in enumerate(tiles) if f'/{TILE},{TILE}/' in iiif(t)]
        plain = ['/tiles/{}-{}-{}.jpg'.format(*t) for t in tiles]
        static = start(stack, run, 'static', lambda folder: f'DocumentRoot {files}\n', (), None)
        thumbs = [f'/iiif/{name}/full/!400,400/0/default.jpg' for name in small]
        others = (('DeepZoom', '/deepzoom/jpeg.tif', deepzoom), ('Zoomify', '/zoomify/jpeg.tif', zoomify), ('IIP', '/iip', iip))
        works = [
            Work('warm tile', 'a viewer session over a JPEG pyramid, everything cached in both children (iipsrv: its own cache of 10 MB).',
                 {'static': (static, plain), 'mod_iip': (warm, jpeg), 'iipsrv': (peer('warm', 10), jpeg)}),
            *(Work(f'warm tile, {name}', f'the same tiles by {name}.',
                   {'static': (static, plain), 'mod_iip': (mod_iip(name), [path + of(t) for t in tiles])}) for name, path, of in others),
            Work('cold tile, JPEG', f'the {len(whole)} tiles of that session that lie whole in the pyramid, with `IIPCacheSize 0 0`: each is read '
                 'from it and passed through (the file is in the page cache; iipsrv without its cache).',
                 {'static': (static, [plain[i] for i in whole]), **cold('cold', [jpeg[i] for i in whole])}),
            Work('cold session, JPEG', f'likewise with its {len(tiles) - len(whole)} tiles at right and lower edges, which are cut without '
                 'decoding and passed through.',
                 {'static': (static, plain), **cold('session', jpeg)}),
            Work('cold tile, deflate', 'likewise over a deflate pyramid: each tile is decoded and encoded.', cold('deflate', deflate)),
            Work('processed tile, float', 'tiles of three floats a pixel, no caches: shaded and coloured (`SHD=315,45&CMP=jet` of IIP) here, only '
                 'coloured by iipsrv, which ends at `SHD`.',
                 {'mod_iip': (mod_iip('processed', 'IIPCacheSize 0 0'), processed('SHD=315,45&CMP=jet')),
                  'iipsrv': (peer_cold, processed('CMP=jet'))}),
            Work('thumbnails', f'`full/!400,400` over {len(small)} JPEG pyramids, no caches.', cold('thumbnails', thumbs)),
            Work('region export', 'cut-outs of the JPEG pyramid, 600 to 3000 pixels wide, at 400 x 267, no caches.',
                 cold('regions', [f'/iiif/jpeg.tif/{r}/0/default.jpg' for r in regions()])),
            Work('export 1:1', 'cut-outs of 4000 x 2500 pixels of the JPEG pyramid, as they lie, no caches.',
                 cold('exports', [f'/iiif/jpeg.tif/{r}/0/default.jpg' for r in exports()])),
        ]
        print(f'{len(tiles)} tiles, {len(small)} pyramids; {rounds} rounds of {seconds} s ...', flush=True)
        for w in works:
            w.check()
            for side, (server, _) in w.sides.items():  # all processes up, both children's caches full
                load(server, w.listing[side], 2 if side == 'iipsrv' else 1, PROCESSES)
        for n in range(rounds):
            for w in works:
                sides = list(w.sides)
                for side in sides[n % len(sides):] + sides[:n % len(sides)]:
                    w.rounds[side].append(load(w.sides[side][0], w.listing[side], seconds))
            print(f'  round {n + 1} of {rounds}', flush=True)
        inner = [tiles[i] for i in whole]
        made = writers(pictures, inner[::max(1, len(inner) // SAMPLE)][:SAMPLE], 2 if args.quick else 3)
        taken = jobs.table()
        mixed, missed = tail.table(tail_sides(stack, run, pictures), deflate, 1 if args.quick else 4, 1 if args.quick else 2)
        bad = missed + sum(w.wrong[s] + sum(r['bad'] for r in w.rounds[s]) for w in works for s in w.sides)
        if args.quick:
            print(table(works), mixed, writer_table(made), taken, sep='\n\n')
        else:
            text = report(works, mixed, made, taken, rounds, seconds, busy)
            print(text)
            with open(os.path.join(HERE, 'figures.md'), 'w') as f:
                f.write(text)
    sys.exit(f'{bad} answers were not as they should be' if bad else 0)


if __name__ == '__main__':
    main()
