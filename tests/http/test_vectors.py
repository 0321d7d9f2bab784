# SPDX-License-Identifier: Apache-2.0
"""The 28 worked examples of spec/iiif.md section 7, over HTTP, with their pixels.

Tolerance: the pictures are smooth ramps and waves, so any right resampling (PIL's Lanczos here) lies within 2.5 levels on
average, which is what a JPEG of quality 75 itself loses, and a wrong region or scale is tens of levels off."""
import numpy as np
import pytest
from PIL import Image

from common import gray_of, lanczos, links, location, near, read, refused

BIG = ("IIPMaxSize 10000", "IIPMaxArea 0", "IIPMaxMemory 1G")
CONF = (
    location("/v3", "{data}", "IIIFVersions 3", *BIG)
    + location("/v2", "{data}", "IIIFVersions 2", *BIG)
    + location("/v3w200", "{data}", "IIIFVersions 3", "IIPMaxSize 200", "IIPMaxArea 0")
    + location("/v2w200", "{data}", "IIIFVersions 2", "IIPMaxSize 200", "IIPMaxArea 0")
    + location("/v3w360", "{data}", "IIIFVersions 3", "IIPMaxSize 360", "IIPMaxArea 0")
    + location("/v3area", "{data}", "IIIFVersions 3", "IIPMaxSize 10000", "IIPMaxArea 4000000")
    + location("/v3noup", "{data}", "IIIFVersions 3", "IIPUpscaling Off", *BIG)
)

# number, location, picture, request, size or status, canonical, region x y w h, scaled to, mirrored, angle, gray
ROWS = [
    (1, "v3", "a", "full/max/0/default.jpg", (6000, 4000), "full/max/0/default.jpg"),
    (2, "v3", "a", "0,0,6000,4000/6000,/0/default.jpg", (6000, 4000), "full/max/0/default.jpg"),
    (3, "v3", "a", "full/,1000/0/default.jpg", (1500, 1000), "full/1500,1000/0/default.jpg"),
    ("3v2", "v2", "a", "full/,1000/0/default.jpg", (1500, 1000), "full/1500,/0/default.jpg"),
    (4, "v3", "a", "square/500,/90/default.png", (500, 500), "1000,0,4000,4000/500,500/90/default.png"),
    ("4v2", "v2", "a", "square/500,/90/default.png", (500, 500), "1000,0,4000,4000/500,/90/default.png"),
    (5, "v3", "a", "pct:50,50,60,60/max/0/color.jpg", (3000, 2000), "3000,2000,3000,2000/max/0/default.jpg"),
    (6, "v3", "a", "5900,3950,200,200/max/0/default.jpg", (100, 50), "5900,3950,100,50/max/0/default.jpg"),
    (7, "v3", "a", "full/!500,500/0/default.jpg", (500, 333), "full/500,333/0/default.jpg"),
    (8, "v3", "a", "full/225,100/0/default.jpg", (225, 100), "full/225,100/0/default.jpg"),
    ("8v2", "v2", "a", "full/225,100/0/default.jpg", (225, 100), "full/225,100/0/default.jpg"),
    (9, "v3", "a", "full/pct:12.5/!0/gray.jpg", (750, 500), "full/750,500/!0/gray.jpg"),
    (10, "v3", "b", "full/^360,/0/default.jpg", (360, 240), "full/^360,240/0/default.jpg"),
    (11, "v3", "b", "full/360,/0/default.jpg", 400, None),
    (12, "v3", "b", "full/!360,360/0/default.jpg", (300, 200), "full/max/0/default.jpg"),
    (13, "v3", "b", "full/^!360,360/0/default.jpg", (360, 240), "full/^360,240/0/default.jpg"),
    (14, "v3w200", "b", "full/max/0/default.jpg", (200, 133), "full/max/0/default.jpg"),
    ("14v2", "v2w200", "b", "full/max/0/default.jpg", (200, 133), "full/200,/0/default.jpg"),
    ("14full", "v2w200", "b", "full/full/0/default.jpg", (200, 133), "full/200,/0/default.jpg"),
    (15, "v3w360", "b", "full/^max/0/default.jpg", (360, 240), "full/^max/0/default.jpg"),
    (16, "v3w200", "b", "full/250,/0/default.jpg", 400, None),
    (17, "v3", "b", "full/max/22.5/default.png", (354, 300), "full/max/22.5/default.png"),
    (18, "v3", "b", "125,15,120,140/90,/!345/gray.jpg", (114, 125), "125,15,120,140/90,105/!345/gray.jpg"),
    (19, "v3", "b", "full/max/360/default.jpg", (300, 200), "full/max/0/default.jpg"),
    (20, "v3noup", "a", "full/^pct:120/0/default.jpg", 501, None),
    (21, "v3", "a", "full/100,^50/0/default.jpg", 400, None),
    (22, "v3area", "a", "full/max/0/default.jpg", (2449, 1632), "full/max/0/default.jpg"),
    (23, "v3", "t3073", "2048,0,1025,2048/257,512/0/default.jpg", (257, 512), "2048,0,1025,2048/257,512/0/default.jpg"),
    (24, "v3", "t3073", "3072,0,1,1024/1,512/0/default.jpg", (1, 512), "3072,0,1,1024/1,512/0/default.jpg"),
    (27, "v2", "a", "full/full/0/native.jpg", (6000, 4000), "full/full/0/default.jpg"),
    (28, "v3", "a", "full/max/0.50/default.png", (6035, 4052), "full/max/0.5/default.png"),
    ("28v2", "v2", "b", "full/full/0.50/default.png", None, "full/full/.5/default.png"),
]
REGION = {4: (1000, 0, 4000, 4000), "4v2": (1000, 0, 4000, 4000), 5: (3000, 2000, 3000, 2000), 6: (5900, 3950, 100, 50),
          18: (125, 15, 120, 140), 23: (2048, 0, 1025, 2048), 24: (3072, 0, 1, 1024)}
SCALED = {17: (300, 200), 18: (90, 105), 28: (6000, 4000), "28v2": (300, 200)}
ANGLE = {4: 90, "4v2": 90, 17: 22.5, 18: 345, 28: 0.5, "28v2": 0.5}

_pictures = {}


def picture(data, name):
    if name not in _pictures:
        _pictures[name] = read("%s/%s.tif" % (data, name))
    return _pictures[name]


def expected(data, n, pic, request, size):
    px = picture(data, pic)
    if n in REGION:
        x, y, w, h = REGION[n]
        px = px[y:y + h, x:x + w]
    w, h = SCALED.get(n, size)
    if (px.shape[1], px.shape[0]) != (w, h):
        px = lanczos(px, w, h)
    if "/!" in request.split("/", 2)[2] or request.split("/")[2].startswith("!"):
        px = px[:, ::-1]
    if "gray" in request:
        px = np.repeat(gray_of(px)[..., None], 3, 2).astype(np.uint8)
    return px


@pytest.mark.any_mpm
@pytest.mark.parametrize("row", [pytest.param(r, id=str(r[0]), marks=[pytest.mark.slow] * (r[0] == 27)) for r in ROWS])  # 27 is 1 for version 2
def test_vector(serve, data, row):
    n, loc, pic, request, want, canonical = row
    s = serve(CONF)
    r = s.get("/%s/%s.tif/%s" % (loc, pic, request), timeout=120)
    if isinstance(want, int):
        refused(r, want, "feature" if want == 501 else ("syntax", "range", "limit"))
        return
    assert r.status == 200, r
    assert not r.broken
    l = links(r)
    assert l["canonical"] == "%s/%s/%s.tif/%s" % (s.base, loc, pic, canonical)
    assert l["profile"] == "http://iiif.io/api/image/%s/level2.json" % loc[1]
    im = r.image()
    assert r["Content-Type"] == ("image/png" if request.endswith("png") else "image/jpeg")
    if want:
        assert im.size == want
    model = expected(data, n, pic, request, want)
    angle = ANGLE.get(n, 0)
    got = np.asarray(im.convert("RGB"))
    if angle == 90:
        model = np.rot90(model, -1)
    elif angle:
        turned = Image.fromarray(model).convert("RGBA").rotate(-angle, Image.BICUBIC, expand=True)
        # PIL rounds its canvas otherwise: compare what lies around the middle, where both have picture
        m = min(turned.size[0], im.size[0]) // 4, min(turned.size[1], im.size[1]) // 4
        t, g = np.asarray(turned)[..., :3], got
        ty, tx, gy, gx = t.shape[0] // 2, t.shape[1] // 2, g.shape[0] // 2, g.shape[1] // 2
        k = max(2, min(m) // 2)
        near(g[gy - k:gy + k, gx - k:gx + k], t[ty - k:ty + k, tx - k:tx + k], 2.5, 24)
        if request.endswith("png"):
            assert im.mode in ("RGBA", "LA")
            a = np.asarray(im)[..., -1]
            assert a[0, 0] == 0 and a[-1, -1] == 0 and a[0, -1] == 0 and a[-1, 0] == 0, "corners are clear"
            assert a[gy, gx] == 255
        else:
            assert (got[0, 0] > 240).all() and (got[-1, -1] > 240).all(), "corners are white"
        return
    near(got, model, 2.5, 40)


def test_canvas_of_28v2(serve):
    """300 x 200 by half a degree: 301.73 x 202.61."""
    assert serve(CONF).get("/v2/b.tif/full/full/0.50/default.png").size == (302, 203)


def test_vector_25(serve):
    s = serve(CONF)
    ident = "ark:%2F12025%2F654xz321"
    r = s.get("/v3/names/../names%2Fark:%2F12025%2F654xz321/info.json")
    assert r.status == 200
    s2 = serve(location("/ark", "{data}/names"))
    r = s2.get("/ark/%s/info.json" % ident)
    assert r.status == 200 and r.json()["id"] == "%s/ark/%s" % (s2.base, ident)


def test_vector_26(serve):
    s = serve(location("/ark", "{data}/names"))
    r = s.get("/ark/a%253Cb/info.json")
    assert r.status == 200 and r.json()["id"] == s.base + "/ark/a%253Cb"
    assert s.get("/ark/a%3Cb/info.json").status == 404


@pytest.mark.parametrize("region,size", [("125,15,200,200", (175, 185)), ("pct:41.6,7.5,66.6,100", (175, 185))])
def test_examples_of_the_text(serve, data, region, size):
    r = serve(CONF).get("/v3/b.tif/%s/max/0/default.png" % region)
    assert r.size == size
    near(r.pixels("RGB"), read(data + "/b.tif")[15:200, 125:300], 0, 0)
