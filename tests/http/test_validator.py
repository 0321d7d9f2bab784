# SPDX-License-Identifier: Apache-2.0
"""What the official IIIF validator checks (spec/iiif.md 13), written anew: a picture of 10 x 10 squares, exact sizes,
colours within 5 levels, 400 for random parameters, redirects, CORS, JSON-LD, links."""
import math
import random
import uuid

import numpy as np
import pytest

from common import CTX2, CTX3, LD, links, location, near
from make_data import colours

SOURCES = ["squares.tif", "squares_flat.tif", "squares.jpg"]
CONF = location("/3", "{data}", "IIIFVersions 3") + location("/2", "{data}", "IIIFVersions 2")
C = colours()


class Picture:
    def __init__(self, s, version, source):
        self.s, self.v, self.src = s, version, source
        self.max = "max" if version == "3" else "full"
        self.rng = random.Random(source + version)

    def ask(self, region="full", size=None, rotation="0", quality="default", fmt="jpg", headers=None):
        return self.s.get("/%s/%s/%s/%s/%s/%s.%s" % (self.v, self.src, region, size or self.max, rotation, quality, fmt), headers)

    def image(self, **kw):
        r = self.ask(**kw)
        assert r.status == 200, r
        return r.image()

    def squares_ok(self, im, box=(0, 0, 1000, 1000), tolerance=5):
        """The middle of every whole square inside box shows its colour."""
        px = np.asarray(im.convert("RGB")).astype(int)
        x0, y0, w, h = box
        sx, sy = im.size[0] / w, im.size[1] / h
        seen = 0
        for j in range(10):
            for i in range(10):
                cx, cy = (i * 100 + 50 - x0) * sx, (j * 100 + 50 - y0) * sy
                if 0 <= cx - 50 * sx and cx + 50 * sx <= im.size[0] and 0 <= cy - 50 * sy and cy + 50 * sy <= im.size[1]:
                    got = px[int(cy), int(cx)]
                    assert np.abs(got - C[j][i]).max() <= tolerance, ((i, j), got, C[j][i])
                    seen += 1
        assert seen or w < 100
        return True


@pytest.fixture(params=[(v, f) for v in "32" for f in SOURCES], ids=lambda p: "%s-%s" % p)
def pic(serve, request):
    return Picture(serve(CONF), *request.param)


def test_info_json(pic):
    d = pic.s.get("/%s/%s/info.json" % (pic.v, pic.src)).json()
    assert (d["width"], d["height"]) == (1000, 1000)
    assert d["id" if pic.v == "3" else "@id"] == "%s/%s/%s" % (pic.s.base, pic.v, pic.src)


def test_cors_jsonld_redirect(pic):
    r = pic.s.get("/%s/%s/info.json" % (pic.v, pic.src), {"Accept": LD})
    assert r["Access-Control-Allow-Origin"] == "*" and r["Content-Type"].startswith(LD)
    r = pic.s.get("/%s/%s" % (pic.v, pic.src))
    assert r.status == 303 and r["Location"] == "%s/%s/%s/info.json" % (pic.s.base, pic.v, pic.src)


def test_linkheaders(pic):
    l = links(pic.ask())
    assert l["profile"].startswith("http://iiif.io/api/image/" + pic.v)
    assert l["canonical"] == "%s/%s/%s/full/%s/0/default.jpg" % (pic.s.base, pic.v, pic.src, pic.max)


def test_full_picture(pic):
    im = pic.image(fmt="png")
    assert im.size == (1000, 1000)
    pic.squares_ok(im, tolerance=5)


def test_region_pixels(pic):
    for _ in range(8):
        i, j = pic.rng.randrange(10), pic.rng.randrange(10)
        im = pic.image(region="%d,%d,80,80" % (i * 100 + 10, j * 100 + 10))
        assert im.size == (80, 80)
        near(np.asarray(im.convert("RGB")), np.tile(C[j][i].astype(np.uint8), (80, 80, 1)), 5, 5)


def test_region_percent(pic):
    for _ in range(8):
        i, j = pic.rng.randrange(10), pic.rng.randrange(10)
        im = pic.image(region="pct:%d,%d,9,9" % (i * 10 + 1, j * 10 + 1))
        assert im.size == (90, 90)
        near(np.asarray(im.convert("RGB")), np.tile(C[j][i].astype(np.uint8), (90, 90, 1)), 5, 5)


def test_region_square(pic):
    pic.squares_ok(pic.image(region="square"))


def test_size_forms(pic):
    for _ in range(4):
        n = pic.rng.randint(450, 750)
        for size, want in (("%d," % n, (n, n)), (",%d" % n, (n, n)), ("%d,%d" % (n, n), (n, n)), ("!%d,%d" % (n, n + 50), (n, n))):
            im = pic.image(size=size)
            assert im.size == want
            pic.squares_ok(im)
    w, h = pic.rng.randint(500, 800), pic.rng.randint(350, 490)
    im = pic.image(size="%d,%d" % (w, h))
    assert im.size == (w, h)
    pic.squares_ok(im)


def test_size_percent(pic):
    for n in (10, 25, 50, 75, pic.rng.randint(30, 99)):
        im = pic.image(size="pct:%d" % n, fmt="png")  # JPEG rings between squares of 10 pixels
        assert im.size == (n * 10, n * 10)
        pic.squares_ok(im)


def test_size_of_region(pic):
    """The validator's size_region: sizes apply to the region."""
    x, y = pic.rng.randrange(5) * 100, pic.rng.randrange(5) * 100
    im = pic.image(region="%d,%d,400,400" % (x, y), size="200,200")
    assert im.size == (200, 200)
    pic.squares_ok(im, (x, y, 400, 400))


def test_size_up(pic):
    size = "^1200," if pic.v == "3" else "1200,"
    im = pic.image(size=size)
    assert im.size == (1200, 1200)
    pic.squares_ok(im)
    if pic.v == "3":
        for size in ("1200,", ",1200", "1200,1200", "pct:120", "full"):
            assert pic.ask(size=size).status == 400, size


def test_rotations(pic):
    full = np.asarray(pic.image(fmt="png").convert("RGB"))
    for n in (90, 180, 270, 360):
        got = np.asarray(pic.image(rotation=str(n), fmt="png").convert("RGB"))
        near(got, np.rot90(full, -(n // 90)), 0.01, 1)
        got = np.asarray(pic.image(rotation="!%d" % n, fmt="png").convert("RGB"))
        near(got, np.rot90(full[:, ::-1], -(n // 90)), 0.01, 1)


def test_rotation_random(pic):
    n = pic.rng.randint(1, 89)
    im = pic.image(rotation=str(n))
    turn = math.radians(n)
    side = 1000 * (math.cos(turn) + math.sin(turn))
    assert abs(im.size[0] - side) <= 0.51 and abs(im.size[1] - side) <= 0.51
    px = np.asarray(im.convert("RGB")).astype(int)
    for j in range(10):
        for i in range(10):
            dx, dy = i * 100 - 450, j * 100 - 450
            x = im.size[0] / 2 + dx * math.cos(turn) - dy * math.sin(turn)
            y = im.size[1] / 2 + dx * math.sin(turn) + dy * math.cos(turn)
            assert np.abs(px[int(y), int(x)] - C[j][i]).max() <= 5, (i, j)
    assert (px[0, 0] >= 250).all() and (px[-1, 0] >= 250).all()


def test_qualities(pic):
    px = np.asarray(pic.image(quality="gray", fmt="png").convert("RGB")).astype(int)
    assert np.abs(px[..., 0] - px[..., 1]).max() <= 1 and np.abs(px[..., 1] - px[..., 2]).max() <= 1
    for j in range(10):
        for i in range(10):
            want = np.floor(C[j][i] @ [0.299, 0.587, 0.114] + 0.5)
            assert abs(px[j * 100 + 50, i * 100 + 50, 0] - want) <= 5
    px = np.asarray(pic.image(quality="bitonal", fmt="png").convert("L"))
    assert set(np.unique(px)) <= {0, 255}
    pic.squares_ok(pic.image(quality="color"))


def test_formats(pic):
    for fmt, kind in (("jpg", "JPEG"), ("png", "PNG")):
        im = pic.image(fmt=fmt)
        assert im.format == kind
        pic.squares_ok(im)


def word(rng):
    """Letters from '0' to 'z', as the validator draws them, encoded for the path."""
    w = "".join(chr(rng.randrange(48, 123)) for _ in range(6))
    return "".join(c if c.isalnum() else "%%%02X" % ord(c) for c in w)


def test_random_parameters(pic):
    for _ in range(12):
        assert pic.ask(region=word(pic.rng)).status == 400
        assert pic.ask(size=word(pic.rng)).status == 400
        assert pic.ask(rotation=word(pic.rng)).status == 400
        assert pic.ask(quality=word(pic.rng)).status == 400
        assert pic.ask(fmt=word(pic.rng)).status in (400, 415, 503)


def test_identifiers(pic):
    s, v = pic.s, pic.v
    assert s.get("/%s/a/b" % v).status == 404
    assert s.get("/%s/%s" % (v, uuid.UUID(int=pic.rng.getrandbits(128)))).status == 404
    assert s.get("/%s/%s/info.json" % (v, uuid.UUID(int=pic.rng.getrandbits(128)))).status == 404
    assert s.get("/%s/[frob]/info.json" % v).status in (400, 404)
    assert s.get("/%s/%s/info.json" % (v, pic.src.replace("_", "%5F").replace(".", "%2E").replace("q", "%71"))).status == 200
    assert s.get("/%s/%s/xyz" % (v, pic.src)).status in (400, 404)


def test_contexts(serve):
    s = serve(CONF)
    assert s.get("/3/squares.tif/info.json").json()["@context"] == CTX3
    assert s.get("/2/squares.tif/info.json").json()["@context"] == CTX2
