#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Whole-slide files as scanners write them, small: make_slide.py folder. The pixels come back from each function."""
import io
import os
import struct
import sys

import numpy as np
import tifffile
from PIL import Image

MPP = 0.499


def picture(w, h):
    """Smooth colours with a pattern in them; even sides halve without a rest."""
    y, x = np.mgrid[0:h, 0:w]
    return np.stack([(x * 3 + y) % 256, (x ^ y) % 256, (x + y * 2) // 5 % 256], -1).astype(np.uint8)


def half(px):
    h, w = px.shape[0] // 2 * 2, px.shape[1] // 2 * 2
    return px[:h, :w].reshape(h // 2, 2, w // 2, 2, 3).mean((1, 3)).astype(np.uint8)


def aperio(path, w=1200, h=1000):
    """.svs: tiled levels in directories of their own, a thumbnail between them, label and macro behind."""
    levels = [picture(w, h)]
    while len(levels) < 3:
        levels.append(half(levels[-1]))
    said = "Aperio Image Library v11.2.1 \r\n%dx%d [0,0 %dx%d] (240x240) JPEG/RGB Q=30" % (w, h, w, h)
    extra = "|AppMag = 20|MPP = %s|Filename = 1" % MPP
    plain = dict(photometric="rgb", metadata=None, compression="zlib")
    with tifffile.TiffWriter(path) as t:
        t.write(levels[0], tile=(240, 240), description=said + extra, **plain)
        t.write(half(levels[2]), rowsperstrip=16, description=said + " -> thumbnail", **plain)
        for px in levels[1:]:
            t.write(px, tile=(240, 240), description=said + " -> %dx%d" % px.shape[1::-1] + extra, **plain)
        t.write(np.full((50, 60, 3), 200, np.uint8), rowsperstrip=10, description=said + "\r\nlabel 60x50", subfiletype=1, **plain)
        t.write(np.full((40, 90, 3), 100, np.uint8), rowsperstrip=10, description=said + "\r\nmacro 90x40", subfiletype=9, **plain)
    return levels


def mirax(path, background=(30, 60, 90), tile=64, across=4, down=4):
    """.mrxs: a JPEG that names nothing, and beside it a folder with a text, an index and the tiles of two levels. One
    tile of the first row was never scanned: there the background shows in the full resolution."""
    folder = os.path.splitext(path)[0]
    os.makedirs(folder, exist_ok=True)
    Image.new("RGB", (20, 20), "white").save(path, "JPEG")
    full = picture(tile * across, tile * down)
    hole = (1, 0)
    data, pages = bytearray(b"\0" * 64), []
    for level in range(2):
        step, px, page = 1 << level, full if level == 0 else half(full), []
        for y in range(0, down, step):
            for x in range(0, across, step):
                if (x, y) == hole:
                    continue
                out = io.BytesIO()
                at = (x // step * tile, y // step * tile)
                Image.fromarray(px[at[1]:at[1] + tile, at[0]:at[0] + tile]).save(out, "PNG")
                page.append((y * across + x, len(data), len(out.getvalue()), 0))
                data += out.getvalue()
        pages.append(page)
    ident = b"0123456789ABCDEF0123456789ABCDEF"
    index = bytearray(b"01.02" + ident + b"\0" * 8)  # then where the levels, and where other things, are listed
    root = len(index) - 8
    table = len(index)
    struct.pack_into("<i", index, root, table)
    index += b"\0" * 4 * len(pages)
    for level, page in enumerate(pages):
        struct.pack_into("<i", index, table + 4 * level, len(index))
        index += struct.pack("<ii", 0, len(index) + 8) + struct.pack("<ii", len(page), 0)
        for row in page:
            index += struct.pack("<iiii", *row)
    bgr = background[2] << 16 | background[1] << 8 | background[0]
    text = "[GENERAL]\nSLIDE_VERSION = 01.02\nSLIDE_ID = %s\nIMAGENUMBER_X = %d\nIMAGENUMBER_Y = %d\n" % (ident.decode(), across, down)
    text += "OBJECTIVE_MAGNIFICATION = 20\nCameraImageDivisionsPerSide = 1\n"
    text += "[HIERARCHICAL]\nHIER_COUNT = 1\nNONHIER_COUNT = 0\nINDEXFILE = Index.dat\nHIER_0_NAME = Slide zoom level\nHIER_0_COUNT = 2\n"
    text += "".join("HIER_0_VAL_%d_SECTION = LEVEL_%d\n" % (i, i) for i in range(2))
    text += "[DATAFILE]\nFILE_COUNT = 1\nFILE_0 = Data0000.dat\n"
    for i in range(2):
        text += "[LEVEL_%d]\nOVERLAP_X = 0\nOVERLAP_Y = 0\nMICROMETER_PER_PIXEL_X = %s\nMICROMETER_PER_PIXEL_Y = %s\n" % (i, MPP * 2**i, MPP * 2**i)
        text += "IMAGE_FORMAT = PNG\nIMAGE_FILL_COLOR_BGR = %d\nDIGITIZER_WIDTH = %d\nDIGITIZER_HEIGHT = %d\nIMAGE_CONCAT_FACTOR = %d\n" % (
            bgr, tile, tile, i)
    for name, body in (("Slidedat.ini", text.encode()), ("Index.dat", index), ("Data0000.dat", data)):
        with open(os.path.join(folder, name), "wb") as f:
            f.write(body)
    seen = full.copy()
    seen[hole[1] * tile:(hole[1] + 1) * tile, hole[0] * tile:(hole[0] + 1) * tile] = background
    return [seen, half(full)]


def make(out):
    os.makedirs(out, exist_ok=True)
    return {"aperio": aperio(out + "/aperio.svs"), "mirax": mirax(out + "/mirax.mrxs")}


if __name__ == "__main__":
    make(sys.argv[1])
