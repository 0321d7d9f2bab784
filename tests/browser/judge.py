# SPDX-License-Identifier: Apache-2.0
"""What a viewer must have done, from the record that drive.js wrote and the photographs themselves."""
import re
import urllib.parse

import numpy
from PIL import Image

Image.MAX_IMAGE_PIXELS = None
GRID = (60, 42)  # screenshot and photograph are compared at this size: what the eye sees, not how a browser resamples
BLANK = 100      # a gray photograph shows some 200 colours, an empty viewer with a message on it a handful
TILE = re.compile(r'/0/default\.jpg$|_files/\d+/\d+_\d+\.jpg$|/TileGroup\d+/\d+-\d+-\d+\.jpg$|[?&]JTL=\d+,\d+$')
APART = 8.0      # mean difference of levels allowed there; another part of the picture gives 30 and more


def loaded(record, origin):
    """Complaints about requests and scripts."""
    out = [f'script: {e}' for e in record['errors']]
    for r in record['requests']:
        url = urllib.parse.urlsplit(r['url'])
        if url.scheme in ('data', 'blob'):
            continue
        if f'{url.scheme}://{url.netloc}' != origin:
            out.append(f'foreign host: {r["url"]}')
        elif r['failure'] and r['failure'] != 'net::ERR_ABORTED':  # aborted: the viewer itself took it back
            out.append(f'{r["failure"]}: {r["url"]}')
        elif not r['failure'] and r['status'] not in (200, 304):  # a page's reload may ask whether its style sheet is still true
            out.append(f'{r["status"]}: {r["url"]}')
    if not all(s['settled'] for s in record['stages']):
        out.append('never came to rest')
    return out


def images(record, stage=None):
    """The pictures that came, whatever protocol they were asked for by."""
    return [r['url'] for r in record['requests'] if r['status'] == 200 and TILE.search(r['url']) and stage in (None, r['stage'])]


def colours(path):
    pixels = numpy.asarray(Image.open(path).convert('RGB')).reshape(-1, 3).astype(numpy.uint32)
    return len(numpy.unique(pixels[:, 0] << 16 | pixels[:, 1] << 8 | pixels[:, 2]))


def difference(shot, picture, view):
    """Mean difference between a screenshot and that rectangle of the photograph, over the cells that lie inside it and
    in the middle four fifths of the screenshot (a viewer's own buttons sit at its edges)."""
    seen = numpy.asarray(Image.open(shot).convert('RGB').resize(GRID, Image.BOX)).astype(float)
    x, y, w, h = view
    size = (GRID[0] * 4, GRID[1] * 4)
    part = picture.transform(size, Image.AFFINE, (w / size[0], 0, x, 0, h / size[1], y), Image.BILINEAR) \
        if w <= size[0] * 2 else reduced(picture, view, size)
    asked = numpy.asarray(part.resize(GRID, Image.BOX)).astype(float)
    column = x + (numpy.arange(GRID[0]) + 0.5) * w / GRID[0]
    row = y + (numpy.arange(GRID[1]) + 0.5) * h / GRID[1]
    margin_x, margin_y = w / GRID[0], h / GRID[1]
    inside = numpy.outer((row > margin_y) & (row < picture.height - margin_y), (column > margin_x) & (column < picture.width - margin_x))
    inside[:GRID[1] // 10], inside[-(GRID[1] // 10):] = False, False
    inside[:, :GRID[0] // 10], inside[:, -(GRID[0] // 10):] = False, False
    return float(numpy.abs(seen - asked)[inside].mean()) if inside.any() else 255.0


def reduced(picture, view, size):
    """The rectangle averaged down to size; what lies beyond the picture stays black."""
    x, y, w, h = view
    box = (max(0, round(x)), max(0, round(y)), min(picture.width, round(x + w)), min(picture.height, round(y + h)))
    out = Image.new('RGB', size)
    if box[2] > box[0] and box[3] > box[1]:
        at = [round((box[0] - x) / w * size[0]), round((box[1] - y) / h * size[1]),
              round((box[2] - x) / w * size[0]), round((box[3] - y) / h * size[1])]
        out.paste(picture.crop(box).resize((max(1, at[2] - at[0]), max(1, at[3] - at[1])), Image.BOX), tuple(at[:2]))
    return out


def pictured(record, picture):
    """Complaints about the screenshots: each shows the rectangle that the viewer says it shows."""
    out = []
    for s in record['stages']:
        if not s['view']:
            out.append(f'{s["what"]}: no view')
            continue
        many = colours(s['shot'])
        if many < BLANK:
            out.append(f'{s["what"]}: blank, {many} colours')
        apart = difference(s['shot'], picture, s['view'])
        if apart > APART:
            out.append(f'{s["what"]}: {apart:.1f} levels from the photograph at {[round(v) for v in s["view"]]}')
    return out


def moved(record):
    """Complaints about the journey home, zoom, pan: it went somewhere and asked for tiles on the way."""
    views = {s['what']: s['view'] for s in record['stages']}
    if not all(views.get(what) for what in ('home', 'zoom', 'pan')):
        return ['home, zoom and pan were not all reached']
    out = []
    if views['zoom'][2] > views['home'][2] / 3:
        out.append(f'zoom: {views["home"][2]:.0f} to {views["zoom"][2]:.0f} pixels wide')
    gone = max(abs(views['pan'][i] - views['zoom'][i]) / views['zoom'][i + 2] for i in (0, 1))
    if gone < 0.1:
        out.append(f'pan: moved by {gone:.2f} of the view')
    if len(images(record)) < 8 or len(set(images(record, 1)) | set(images(record, 2))) < 4:
        out.append(f'only {len(images(record))} images asked for')
    return out
