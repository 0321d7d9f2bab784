# SPDX-License-Identifier: Apache-2.0
"""Pictures of odd shapes over IIIF: a pixel, a line, a column, slivers. What info.json lists is answered to the pixel, and
viewers' tiles and thumbnails of them are."""
import os
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from common import location, near, refused, shrink

SHAPES = {"pixel": (1, 1), "four": (2, 2), "column": (1, 3000), "line": (3000, 1), "wide": (4900, 3), "tall": (3, 4900)}


@pytest.fixture(scope="module")
def shapes(work):
    """{name: pixels} of tiled pyramids and plain PNGs, in a folder of their own."""
    os.umask(0o022)
    d = "%s/tmp/shapes-%d" % (work, os.getpid())
    shutil.rmtree(d, ignore_errors=True)
    os.makedirs(d)
    px = {}
    for name, (w, h) in SHAPES.items():
        y, x = np.mgrid[0:h, 0:w]
        px[name] = np.stack([x * 255 // max(1, w - 1), y * 255 // max(1, h - 1), 128 + 100 * np.sin(x / 90 + y / 70)], -1).astype(np.uint8)
        Image.fromarray(px[name]).save("%s/%s.png" % (d, name))
        subprocess.run(["vips", "tiffsave", "%s/%s.png" % (d, name), "%s/%s.tif" % (d, name), "--tile", "--pyramid", "--compression", "deflate"],
                       check=True)
    yield d, px
    shutil.rmtree(d, ignore_errors=True)


@pytest.mark.parametrize("ext", ["tif", "png"])
@pytest.mark.parametrize("name", sorted(SHAPES))
def test_what_is_listed_is_answered(serve, shapes, name, ext):
    folder, px = shapes
    s = serve(location("/3", folder, "IIIFVersions 3") + location("/2", folder, "IIIFVersions 2"))
    w, h = SHAPES[name]
    for v in "32":
        base = "/%s/%s.%s/" % (v, name, ext)
        d = s.get(base + "info.json").json()
        assert (d["width"], d["height"]) == (w, h)
        for z in d["sizes"]:
            assert s.get(base + "full/%(width)d,%(height)d/0/default.png" % z).size == (z["width"], z["height"])
        for t in d["tiles"]:
            tw, th = t["width"], t.get("height", t["width"])
            for f in t["scaleFactors"]:
                for x in {0, (w - 1) // (tw * f) * tw * f}:
                    for y in {0, (h - 1) // (th * f) * th * f}:
                        rw, rh = min(tw * f, w - x), min(th * f, h - y)
                        ow, oh = -(-rw // f), -(-rh // f)
                        r = s.get(base + "%d,%d,%d,%d/%d,%d/0/default.png" % (x, y, rw, rh, ow, oh))
                        assert r.status == 200 and r.size == (ow, oh), (v, f, x, y, r)
                        if ext == "png" or f == 1:  # of three rows the smaller levels of a pyramid hold two or one
                            near(r.pixels("RGB"), shrink(px[name][y:y + rh, x:x + rw], ow, oh), 6, 40)
        whole = s.get(base + "full/%s/0/default.png" % ("max" if v == "3" else "full")).pixels("RGB")
        near(whole, px[name], 0, 0)
        side = min(w, h)
        assert s.get(base + "square/max/0/default.png" if v == "3" else base + "square/full/0/default.png").size == (side, side)
        turned = s.get(base + "full/%s/!90/default.png" % ("max" if v == "3" else "full")).pixels("RGB")
        near(turned, np.rot90(px[name][:, ::-1], -1), 0, 0)


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_thumbnails_and_bounds(serve, shapes, name):
    folder, px = shapes
    s = serve(location("/3", folder, "IIIFVersions 3") + location("/2", folder, "IIIFVersions 2"))
    w, h = SHAPES[name]
    k = min(1, 90 / w, 90 / h)
    want = (max(1, round(w * k)), max(1, round(h * k)))
    assert s.get("/3/%s.tif/full/!90,90/0/default.jpg" % name).size == want
    last = s.get("/3/%s.tif/%d,%d,99,99/max/0/default.png" % (name, w - 1, h - 1))
    assert last.size == (1, 1)
    near(last.pixels("RGB"), px[name][-1:, -1:], 0, 0)
    for region in ("%d,0,1,1" % w, "0,%d,1,1" % h, "0,0,0,1", "0,0,1,0", "pct:100,0,1,1"):
        refused(s.get("/3/%s.tif/%s/max/0/default.jpg" % (name, region)), 400)
    refused(s.get("/3/%s.tif/full/%d,/0/default.jpg" % (name, w + 1)), 400)  # larger than it is, without ^
