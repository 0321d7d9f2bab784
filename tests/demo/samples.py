# SPDX-License-Identifier: Apache-2.0
"""Sample pictures from the photographs of Debian's plasma-workspace-wallpapers, made by vips."""
import json
import os
import subprocess
import sys
import time

from httpd import TOP

WALLPAPERS = '/usr/share/wallpapers'
PHOTOGRAPHS = ('Path', 'EveningGlow', 'FallenLeaf', 'OneStandsOut', 'BytheWater', 'ColorfulCups', 'Kite', 'ColdRipple',
               'summer_1am', 'DarkestHour', 'Grey')  # the package's other pictures are drawn; Grey is gray


def photograph(name):
    return f'{WALLPAPERS}/{name}/contents/images/2560x1600.jpg'


def author(name):
    with open(f'{WALLPAPERS}/{name}/metadata.json') as f:
        return json.load(f)['KPlugin']['Authors'][0]['Name']


def pyramid(compression, *options):
    """Options of vips tiffsave for a pyramid of 256 tiles."""
    return ('--compression', compression, '--tile', '--pyramid', '--tile-width', '256', '--tile-height', '256') + options


def vips(*args):
    temporary = os.path.join(TOP, 'build')  # what an interrupted vips leaves lies where all the rest lies
    done = subprocess.run(('vips',) + args, capture_output=True, text=True, env=dict(os.environ, VIPS_WARNING='1', TMPDIR=temporary))
    if done.returncode:
        sys.exit(f'vips {" ".join(args)}:\n{done.stderr}')


def tiff(name, words, *options):
    """A recipe for make_all: this photograph as TIFF with these options of vips."""
    return lambda part: vips('tiffsave', photograph(name), part, *options), words, f'{name} {" ".join(options)}'


def make_all(recipes, folder, say=print):
    """recipes: {name: (function(part), words for people, key)}; function writes the picture to the path it is given. A
    picture is made under a temporary name and renamed, so that what is there is complete; it is made again when its
    key, which names all that shapes it, has changed (keys are kept beside the folder)."""
    os.makedirs(folder, exist_ok=True)
    kept = folder + '.json'
    try:
        with open(kept) as f:
            made = json.load(f)
    except (OSError, ValueError):
        made = {}
    todo = [n for n in recipes if made.get(n) != recipes[n][2] or not os.path.exists(os.path.join(folder, n))]
    for i, name in enumerate(todo, 1):
        function, words, key = recipes[name]
        target = os.path.join(folder, name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        part = os.path.join(os.path.dirname(target), f'.part-{os.getpid()}-{os.path.basename(name)}')
        start = time.monotonic()
        say(f'  [{i}/{len(todo)}] {name:<20} {words} ... ', end='', flush=True)
        try:
            function(part)
            os.rename(part, target)
        finally:
            if os.path.exists(part):
                os.unlink(part)
        say(f'{os.path.getsize(target) / 1e6:.1f} MB, {time.monotonic() - start:.1f} s')
        made[name] = key
        with open(kept + '.part', 'w') as f:
            json.dump(made, f, indent=1)
        os.rename(kept + '.part', kept)
