#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""make bench, second part: what a format of the source costs. One picture (nine photographs, 7680 x 4800) in each format by
the command that the table shows; build/iip answers tiles of a viewer's session and free cut-outs, nothing kept. Prints a
table and writes tests/bench/sources.md, which the README quotes."""
import os
import random
import resource
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'demo'))
sys.path.insert(0, HERE)

import samples  # noqa: E402
from bench import TILE, TOP, WALL, WORK, iiif, session  # noqa: E402

ROUNDS = 3
CUTS = 24
PYRAMID = '--tile --pyramid --tile-width 256 --tile-height 256'
OPJ = 'opj_compress -p RPCL -PLT -n 6 -r 16'
# name: command, {in} a TIFF without compression, {ppm} the same as PPM
SOURCES = {
    'jpeg.tif': f'vips tiffsave {{in}} {{out}} --compression jpeg --Q 85 {PYRAMID}',
    'webp.tif': f'vips tiffsave {{in}} {{out}} --compression webp --Q 85 {PYRAMID}',
    'zstd.tif': f'vips tiffsave {{in}} {{out}} --compression zstd --predictor horizontal {PYRAMID}',
    'deflate.tif': f'vips tiffsave {{in}} {{out}} --compression deflate --predictor horizontal {PYRAMID}',
    'lzw.tif': f'vips tiffsave {{in}} {{out}} --compression lzw --predictor horizontal {PYRAMID}',
    'none.tif': f'vips tiffsave {{in}} {{out}} --compression none {PYRAMID}',
    'precincts.jp2': OPJ + ' -c [256,256] -i {ppm} -o {out}',
    'tiled.jp2': OPJ + ' -t 1024,1024 -i {ppm} -o {out}',
    'lossless.jp2': 'opj_compress -p RPCL -PLT -n 6 -c [256,256] -i {ppm} -o {out}',
    'ht.jp2': 'grk_compress -M 64 -p RPCL -n 6 -c [128,128] -i {ppm} -o {out}',
    'flat.tif': 'vips tiffsave {in} {out} --compression lzw --predictor horizontal',
    'plain.jpg': 'vips jpegsave {in} {out} --Q 85',
}


def make(folder):
    """The sources that can be made here, each once."""
    joined, ppm = os.path.join(folder, '.wall.tif'), os.path.join(folder, '.wall.ppm')
    os.makedirs(folder, exist_ok=True)
    if not os.path.exists(ppm):
        samples.vips('arrayjoin', ' '.join(map(samples.photograph, samples.PHOTOGRAPHS[:9])), joined, '--across', '3')
        samples.vips('copy', joined, ppm + '.part.ppm')
        os.rename(ppm + '.part.ppm', ppm)
    made = {}
    for name, command in SOURCES.items():
        path, key = os.path.join(folder, name), os.path.join(folder, '.' + name + '.command')
        words = command.split()
        if not shutil.which(words[0]):
            continue
        if not os.path.exists(path) or not os.path.exists(key) or open(key).read() != command:
            part = os.path.join(folder, '.part-' + name)
            full = [w.format(**{'in': joined, 'ppm': ppm, 'out': part}) for w in words]
            done = subprocess.run(full, capture_output=True, text=True)
            if done.returncode or not os.path.exists(part):
                print(f'  {name}: {done.stderr.strip()[:200]}')
                continue
            os.rename(part, path)
            with open(key, 'w') as f:
                f.write(command)
        made[name] = command
    return made


def cuts():
    dice = random.Random(9)
    out = []
    for _ in range(CUTS):
        w = dice.randrange(600, 3000)
        x, y = dice.randrange(WALL[0] - w), dice.randrange(max(1, WALL[1] - w))
        out.append(f'{x},{y},{w},{min(w, WALL[1] - y)}/400,/0/default.jpg')
    return out


def cpu(folder, name, requests):
    """Microseconds of computing for one answer."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([os.path.join(TOP, 'build', 'iip'), '-r', folder, '-s', 'IIPCacheSize 0 0', '-o', os.devnull],
                          input=''.join(f'/{name}/{r}\n' for r in requests), capture_output=True, text=True, timeout=600)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr[:500]
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / len(requests) * 1e6


def main():
    folder = os.path.join(WORK, 'sources')
    made = make(folder)
    tiles = [iiif(t) for t in random.Random(3).sample(session(), 60)]
    works = (tiles, cuts())
    took = {}
    for _ in range(ROUNDS):
        for name in made:
            for k, requests in enumerate(works):
                took[name, k] = min(took.get((name, k), 1e12), cpu(folder, name, requests))
    size = {name: os.path.getsize(os.path.join(folder, name)) for name in made}
    first = next(iter(made))
    lines = ['| made by | bytes | tile | cut-out |', '|---------|------:|-----:|--------:|']
    for name, command in made.items():
        words = command.replace('{in}', 'IN.tif').replace('{ppm}', 'IN.ppm').replace('{out}', 'OUT.' + name.rsplit('.', 1)[1])
        lines.append(f'| `{words}` | {size[name] / size[first]:.2f} | {took[name, 0] / took[first, 0]:.1f} | {took[name, 1] / took[first, 1]:.1f} |')
    text = f'''A picture of {WALL[0]} x {WALL[1]} pixels (photographs); bytes of the file and CPU of an answer as JPEG, each relative to the first row
({took[first, 0]:.0f} us a tile, {took[first, 1]:.0f} us a cut-out on this machine): *tile*, one of {TILE} x {TILE} of a viewer's session (the first row's
are passed through); *cut-out*, a rectangle anywhere, 600 to 3000 pixels wide, at 400. Nothing is kept between answers, least of {ROUNDS} rounds.

''' + '\n'.join(lines) + '\n'
    print(text)
    with open(os.path.join(HERE, 'sources.md'), 'w') as f:
        f.write(text)


if __name__ == '__main__':
    main()
