# SPDX-License-Identifier: Apache-2.0
"""Packet indexes as files: tiles of a large JPEG 2000 file out of several children, IIPStateDir, a replaced picture,
files removed under the server (spec/jpip.md 8, 11, 16)."""
import glob
import io
import os
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from test_stability import parallel

SIDE = 1500
TILES = [(x, y, 256) for x in (0, 300, 777, 1244) for y in (0, 511, 1000)]


@pytest.fixture(scope="module")
def large(work):
    """Folder with a picture of more than a megabyte, its packets' lengths nowhere; and its pixels."""
    folder = os.path.join(work, "large")
    os.makedirs(folder, exist_ok=True)
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    noise = np.random.RandomState(5).randint(0, 64, (SIDE, SIDE, 3))
    px = ((np.stack([x // 7, y // 7, (x + y) // 15], -1) % 192) + noise).astype("u1")
    ppm, out = os.path.join(folder, "p.ppm"), os.path.join(folder, "p.jp2")
    Image.fromarray(px).save(ppm)
    subprocess.run(["opj_compress", "-i", ppm, "-o", out, "-p", "RPCL", "-c", "[256,256]", "-n", "6"], check=True,
                   capture_output=True)
    os.unlink(ppm)
    assert os.path.getsize(out) > 1 << 20
    return folder, px


def ask(s, px, x, y, n):
    """A lossless tile has the picture's pixels."""
    r = s.get("/i/p.jp2/%d,%d,%d,%d/max/0/default.png" % (x, y, n, n))
    assert r.status == 200, r
    got = np.asarray(Image.open(io.BytesIO(r.body)))
    assert np.array_equal(got, px[y:y + n, x:x + n])


def start(serve, folder, more="", **opt):
    return serve('%s\n<Location /i>\nSetHandler iiif-handler\nIIPRoot "%s"\n</Location>\n' % (more, folder), fresh=True, **opt)


def indexes(s, folder="run/iip"):
    return glob.glob(os.path.join(s.dir, folder, "jpip", "*"))


def test_one_file_for_all_children(serve, large):
    s = start(serve, large[0], children=4)
    parallel(8, lambda t: ask(s, large[1], *t), TILES * 2)
    found = indexes(s)
    assert len(found) == 1 and found[0].endswith(".jix"), found
    assert os.stat(found[0]).st_mode & 0o777 == 0o600 and os.stat(os.path.join(s.dir, "run/iip")).st_mode & 0o777 == 0o700


def test_a_folder_of_its_own(serve, large):
    s = start(serve, large[0], "IIPStateDir kept\nJPIPIndexAge 0")
    ask(s, large[1], 40, 50, 200)
    assert len(indexes(s, "run/kept")) == 1 and not indexes(s)


def test_removed_under_the_server(serve, large):
    s = start(serve, large[0], children=2)
    ask(s, large[1], 0, 0, 256)
    shutil.rmtree(os.path.join(s.dir, "run/iip"))
    for t in TILES:
        ask(s, large[1], *t)


def test_replaced_picture(serve, large, work):
    folder = os.path.join(work, "replaced")
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "p.jp2")
    shutil.copy(os.path.join(large[0], "p.jp2"), path)
    s = start(serve, folder, children=2)
    ask(s, large[1], 300, 0, 256)
    turned = np.ascontiguousarray(large[1][::-1])
    ppm = os.path.join(folder, "q.ppm")
    Image.fromarray(turned).save(ppm)
    subprocess.run(["opj_compress", "-i", ppm, "-o", os.path.join(folder, "q.jp2"), "-p", "RPCL", "-c", "[256,256]", "-n", "6"],
                   check=True, capture_output=True)
    os.rename(os.path.join(folder, "q.jp2"), path)
    for t in TILES:
        ask(s, turned, *t)
    assert len(indexes(s)) == 2
