# SPDX-License-Identifier: Apache-2.0
"""Signed thumbnails (spec/imgserve.md section 13): who may ask, formats, validators, and pixels against a model of their own."""
import base64
import hashlib
import hmac
import io
import os
import shutil
import time

import numpy as np
import pytest
from PIL import Image, ImageOps

from common import near, shrink

KEY, SALT = "943b421c9eb07c830af81030552c86009268de4e532ba2ee2eab8247c6da0881", "520f986b998545b4785e0defbc4f3c1203f22de2374a3d53cb7a7fe9fea309c5"
OLD = ("00ff", "a1")
W, H = 1200, 800


def sign(path, key=KEY, salt=SALT):
    mac = hmac.new(bytes.fromhex(key), bytes.fromhex(salt) + path.encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(mac.digest()).rstrip(b"=").decode()


def url(options, name="waves.png@png", place="/t"):
    path = "/" + (options + "/" if options else "") + "plain/" + name
    return place + "/" + sign(path) + path


def refused(r, status):
    """An error of ours, that no cache keeps."""
    assert r.status == status, r
    assert r.error and r["Cache-Control"] == "no-store" and r["X-Content-Type-Options"] == "nosniff", r.headers.items()
    assert r["ETag"] is None and 0 < len(r.body) < 300
    return r


def waves(w=W, h=H):
    """Smooth, no two places alike."""
    x, y = np.arange(w)[None, :] / max(w, h), np.arange(h)[:, None] / max(w, h)
    return np.stack([20 + 200 * x + 0 * y, 20 + 300 * y + 0 * x, 128 + 90 * np.sin(9 * x + 5 * y)], -1).astype(np.uint8)


@pytest.fixture(scope="module")
def pics(work):
    os.umask(0o022)
    d = "%s/tmp/thumb-%d" % (work, os.getpid())
    shutil.rmtree(d, ignore_errors=True)
    os.makedirs(d + "/pics/sub dir")
    px = waves()
    Image.fromarray(px).save(d + "/pics/waves.png")
    Image.fromarray(px).save(d + "/pics/sub dir/a b.png")
    alpha = np.linspace(0, 255, W).astype(np.uint8)[None, :].repeat(H, 0)
    Image.fromarray(np.dstack([px, alpha])).save(d + "/pics/clear.png")
    Image.fromarray(px[..., 1]).save(d + "/pics/grey.png")
    busy = np.full((600, 1600, 3), 90, np.uint8)
    busy[200:400, 1200:1400] = np.random.default_rng(1).integers(0, 255, (200, 200, 3))
    Image.fromarray(busy).save(d + "/pics/busy.png")
    exif = Image.Exif()
    for o in range(1, 9):
        exif[0x0112] = o
        exif[0x8298] = "(c) somebody"
        Image.fromarray(px).save("%s/pics/o%d.jpg" % (d, o), quality=97, subsampling=0, exif=exif)
    with open(d + "/pics/draw.svg", "w") as f:
        f.write('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>')
    with open(d + "/pics/text.txt", "w") as f:
        f.write("no picture")
    with open(d + "/secret.png", "wb") as f:
        f.write(b"x")
    with open(d + "/keys", "w") as f:
        f.write("# the old one goes next month\n%s %s\n%s %s\n" % (OLD + (KEY, SALT)))
    os.chmod(d + "/keys", 0o600)
    yield d
    shutil.rmtree(d, ignore_errors=True)


def conf(pics, *more):
    where = '<Location %s>\nSetHandler thumb-handler\nIIPThumbRoot "%s/pics"\n%s\n</Location>\n'
    return (where % ("/t", pics, "\n".join(('IIPThumbKey "%s/keys"' % pics, 'IIPThumbPreset small rs:fit:60:60') + more))
            + where % ("/open", pics, "IIPThumbPreset small rs:fit:60:60\nIIPThumbPreset square rs:fill:50:50/g:no\n"
                                      "IIPThumbPreset twice pr:small/dpr:2")
            + "<Location /off>\nSetHandler thumb-handler\n</Location>\n")


@pytest.fixture
def server(serve, pics):
    return serve(conf(pics))


# ---- who may ask


def test_signature(server):
    path = "/rs:fit:60:60/plain/waves.png@png"
    assert server.get("/t/" + sign(path) + path).size == (60, 40)
    assert server.get("/t/" + sign(path, *OLD) + path).size == (60, 40), "the old key still works"
    good = sign(path)
    for bad in ("unsafe", "_", good[:-1], good + "A", good[:-1] + ("A" if good[-1] != "A" else "B"), good.swapcase(), sign(path, KEY, "00")):
        refused(server.get("/t/" + bad + path), 403)
    refused(server.get("/t/" + good + path.replace("60:60", "60:61")), 403)
    refused(server.get("/t/" + good + path + "x"), 403)
    refused(server.get("/t/" + good), 404)
    refused(server.get("/t/"), 404)


def test_spellings_of_the_name(server):
    for name in ("sub%20dir/a%20b.png@png", "local:///sub%20dir/a%20b.png@png", "local:%2F%2F%2Fsub%20dir%2Fa%20b.png@png"):
        r = server.get(url("w:60", name))
        assert r.status == 200 and r.size == (60, 40), (name, r)
    for text in (b"sub dir/a b.png", b"local:///sub dir/a b.png"):
        path = "/w:60/" + base64.urlsafe_b64encode(text).rstrip(b"=").decode() + ".png"
        assert server.get("/t/" + sign(path) + path).size == (60, 40)
    for name in ("none.png", "../secret.png", "%2e%2e/secret.png", "http://127.0.0.1/a.png", "s3://b/a.png", "/etc/passwd", "sub%20dir", ".htaccess"):
        path = "/w:60/plain/" + name
        r = server.get("/t/" + sign(path) + path)
        assert r.status in (403, 404) and r["Cache-Control"] != "max-age=60" and b"/" not in r.body, (name, r)


def test_absolute(serve, pics):
    """Names that begin with the root's own path, where that is allowed."""
    root = pics + "/pics"
    s = serve('<Location /t>\nSetHandler thumb-handler\nIIPThumbRoot "%s" absolute\nIIPThumbKey "%s/keys"\n</Location>\n' % (root, pics))
    for name in ("waves.png@png", root + "/waves.png@png", "local://" + root + "/waves.png@png"):
        assert s.get(url("w:60", name)).size == (60, 40), name
    refused(s.get(url("w:60", pics + "/secret.png@png")), 404)


def test_presets(server):
    r = server.get("/open/unsafe/rs:fit:60:60/plain/waves.png@png")
    assert r.status == 200 and r.size == (60, 40)
    for word, size in (("small", (60, 40)), ("square", (50, 50)), ("twice", (120, 80))):
        assert server.get("/open/unsafe/pr:%s/plain/waves.png@png" % word).size == size
    for options in ("rs:fit:60:61/", "", "pr:none/", "pr:small/w:5/", "w:5/pr:small/"):
        refused(server.get("/open/unsafe/%splain/waves.png@png" % options), 403)
    path = "/pr:small/plain/waves.png@png"
    refused(server.get("/open/" + sign(path) + path), 403)
    assert server.get(url("pr:small")).size == (60, 40)
    refused(server.get(url("pr:square")), 404)


def test_off(server):
    """Without IIPThumbRoot nothing is answered."""
    refused(server.get("/off/unsafe/w:5/plain/waves.png"), 404)


def test_bad_options(server):
    refused(server.get(url("nonsense:1")), 404)
    refused(server.get(url("watermark:0.5")), 404)
    for bad in ("rs:cover:5:5", "w:-1", "w:x", "q:500", "bg:red", "rot:45", "g:up", "dpr:100", "f:bmp", "bl:-1", "fl:2"):
        refused(server.get(url(bad)), 400)
    refused(server.get(url("w:9", "waves.png@bmp")), 400)
    refused(server.get(url("w:6000/el:1")), 400)
    refused(server.get(url("pd:4000")), 400)
    refused(server.request("POST", url("w:5")), 405)


def test_expiry(server):
    assert server.get(url("w:5/exp:%d" % (time.time() + 100))).status == 200
    refused(server.get(url("w:5/exp:%d" % (time.time() - 5))), 404)


def test_no_picture(server):
    refused(server.get(url("w:5", "draw.svg@png")), 415)
    refused(server.get(url("w:5", "text.txt@png")), 415)


# ---- formats and validators


def test_extensions(server):
    for ext, mime in (("png", "image/png"), ("jpg", "image/jpeg"), ("jpeg", "image/jpeg"), ("webp", "image/webp")):
        r = server.get(url("w:60", "waves.png@" + ext))
        assert r.status == 200 and r["Content-Type"] == mime and "Accept" not in (r["Vary"] or "")
        assert server.get(url("w:60/f:" + ext, "waves.png"))["Content-Type"] == mime
    assert server.get(url("w:60/f:webp", "waves.png@png"))["Content-Type"] == "image/png"


def test_accept(server):
    for accept, name, mime in ((None, "waves.png", "image/jpeg"), (None, "clear.png", "image/png"), ("image/webp,*/*", "waves.png", "image/webp"),
                               ("image/*", "waves.png", "image/jpeg"), ("image/webp;q=0, image/*", "clear.png", "image/png")):
        r = server.get(url("w:60", name), {"Accept": accept} if accept else None)
        assert r["Content-Type"] == mime and "Accept" in r["Vary"], (accept, r)
    assert server.get(url("w:60/bg:fff", "clear.png"))["Content-Type"] == "image/jpeg", "nothing is transparent then"


def test_quality(server):
    low, high = (len(server.get(url("w:600/q:%d" % q, "waves.png@jpg")).body) for q in (20, 95))
    assert low < high


def test_validators(server):
    r = server.get(url("w:60"))
    assert r["ETag"] and r["Last-Modified"] and r["Cache-Control"] == "max-age=86400"
    assert server.get(url("w:60"), {"If-None-Match": r["ETag"]}).status == 304
    assert server.get(url("w:61"), {"If-None-Match": r["ETag"]}).status == 200
    h = server.head_of(url("w:60"))
    assert h.status == 200 and h["ETag"] == r["ETag"] and h["Content-Length"] == r["Content-Length"]
    tags = {server.get(url(o))["ETag"] for o in ("w:60", "w:60/bl:1", "w:60/sh:1", "w:60/pd:1", "w:60/pd:1/bg:f00", "w:60/fl:1", "rs:fill:60:60",
                                                 "rs:fill:60:60/g:sm", "w:60/rot:180")}
    assert len(tags) == 9
    assert server.get(url("rs:fit:60:60"))["ETag"] == r["ETag"], "the same picture"


def test_metadata(server):
    def copyright(options):
        return Image.open(io.BytesIO(server.get(url(options, "o1.jpg@jpg")).body)).getexif().get(0x8298)

    assert copyright("w:60") is None
    assert copyright("w:60/sm:0") == "(c) somebody"


# ---- pixels


def pixels(server, options, name="waves.png@png", mode="RGB"):
    r = server.get(url(options, name))
    assert r.status == 200, (options, r)
    return r.pixels(mode).astype(float)


def model(px, x, y, w, h, ow, oh):
    return shrink(px[y:y + h, x:x + w], ow, oh)


@pytest.mark.parametrize("options, part, size", [
    ("rs:fit:300:300", (0, 0, W, H), (300, 200)),
    ("rs:force:300:300", (0, 0, W, H), (300, 300)),
    ("rs:fill:300:300", (200, 0, 800, 800), (300, 300)),
    ("rs:fill:300:300/g:we", (0, 0, 800, 800), (300, 300)),
    ("rs:fill:300:100/g:so", (0, 400, 1200, 400), (300, 100)),
    ("rs:fill:200:200/g:fp:0.25:0", (0, 0, 800, 800), (200, 200)),
    ("rs:fill-down:2400:400", (0, 300, 1200, 200), (1200, 200)),
    ("rs:auto:300:300", (200, 0, 800, 800), (300, 300)),
    ("c:400:200:soea/w:100", (800, 600, 400, 200), (100, 50)),
    ("w:300/dpr:2", (0, 0, W, H), (600, 400)),
    ("w:9999", (0, 0, W, H), (1200, 800)),
])
def test_parts(server, options, part, size):
    near(pixels(server, options), model(waves(), *part, *size), 1.0, 4)


@pytest.mark.parametrize("options, turn", [
    ("rot:90", lambda a: np.rot90(a, -1)), ("rot:180", lambda a: np.rot90(a, 2)), ("rot:270", lambda a: np.rot90(a, 1)),
    ("fl:1", lambda a: a[:, ::-1]), ("fl:0:1", lambda a: a[::-1]), ("fl:1:1", lambda a: a[::-1, ::-1]),
    ("rot:90/fl:1", lambda a: np.rot90(a, -1)[:, ::-1]), ("rot:270/fl:0:1", lambda a: np.rot90(a, 1)[::-1]),
])
def test_turns(server, options, turn):
    """The picture is turned, then mirrored; the part is chosen in what comes of that."""
    px = turn(waves())
    h, w = px.shape[:2]
    near(pixels(server, options), px.astype(float), 0.1, 1)
    side = min(w, h)
    near(pixels(server, options + "/rs:fill:100:100/g:nowe"), model(px, 0, 0, side, side, 100, 100), 1.0, 4)
    near(pixels(server, options + "/c:300:200:soea/w:150"), model(px, w - 300, h - 200, 300, 200, 150, 100), 1.0, 4)


@pytest.mark.parametrize("o", range(1, 9))
def test_orientation(server, pics, o):
    """EXIF is obeyed, unless ar:0 says not to."""
    lies = Image.open("%s/pics/o%d.jpg" % (pics, o))
    plain = np.asarray(lies.convert("RGB")).astype(float)
    upright = np.asarray(ImageOps.exif_transpose(lies).convert("RGB"))
    near(pixels(server, "ar:0", "o%d.jpg@png" % o), plain, 0.5, 4)
    h, w = upright.shape[:2]
    near(pixels(server, "w:%d" % (w // 4), "o%d.jpg@png" % o), shrink(upright, w // 4, h // 4), 1.0, 5)


def test_frames(server):
    small = pixels(server, "w:300")
    px = pixels(server, "rs:fit:300:300:0:1/bg:ff8000")
    assert px.shape == (300, 300, 3) and (px[50:250] == small).all()
    assert (px[:50] == (255, 128, 0)).all() and (px[250:] == (255, 128, 0)).all()
    px = pixels(server, "w:300/pd:1:2:3:4/bg:0000ff")
    assert px.shape == (204, 306, 3) and (px[1:201, 4:304] == small).all()
    px[1:201, 4:304] = (0, 0, 255)
    assert (px == (0, 0, 255)).all()
    px = pixels(server, "w:300/pd:10", mode="RGBA")  # no colour: transparent where the format has that
    assert (px[10:210, 10:310, :3] == small).all() and (px[10:210, 10:310, 3] == 255).all() and px[:10, :, 3].max() == 0
    px = pixels(server, "w:300/pd:10", "waves.png@jpg")
    assert (px[:4] > 240).all(), "else the place's ground"
    px = pixels(server, "rs:fit:300:300:0:1:no/bg:102030", "grey.png@png")
    assert (px[:200, :, 0] == px[:200, :, 1]).all() and abs(px[250:, :, 0] - (0.299 * 16 + 0.587 * 32 + 0.114 * 48)).max() <= 1


def test_background(server, pics):
    """Transparent pictures over a colour; formats without transparency get one anyway."""
    px = pixels(server, "bg:204060", "clear.png@png", "RGBA")
    a = np.asarray(Image.open(pics + "/pics/clear.png")).astype(float)
    want = a[..., :3] * a[..., 3:] / 255 + np.array((0x20, 0x40, 0x60)) * (1 - a[..., 3:] / 255)
    assert px[..., 3].min() == 255
    near(px[..., :3], want, 0.5, 1)
    assert pixels(server, "w:60", "clear.png@png", "RGBA")[..., 3].min() < 20


def gauss(px, sigma):
    """Two passes in float, edges go on."""
    r = int(np.ceil(4 * sigma))
    k = np.exp(-np.arange(-r, r + 1) ** 2 / (2 * sigma * sigma))
    k /= k.sum()
    for axis in (0, 1):
        pad = np.pad(px, [(r, r) if a == axis else (0, 0) for a in range(3)], mode="edge")
        px = sum(k[i] * np.take(pad, range(i, i + px.shape[axis]), axis) for i in range(2 * r + 1))
    return px


def test_blur_and_sharpen(server):
    for name in ("busy.png@png", "waves.png@png"):
        plain = pixels(server, "w:400", name)
        for sigma in (0.7, 3, 12):
            near(pixels(server, "w:400/bl:%s" % sigma, name), gauss(plain, sigma), 0.6, 2)
        near(pixels(server, "w:400/sh:1", name), np.clip(2 * plain - gauss(plain, 1), 0, 255), 0.6, 3)
    near(pixels(server, "w:200/dpr:2/bl:1.5"), gauss(pixels(server, "w:400"), 3), 0.6, 2)
    near(pixels(server, "w:400/bl:2/rot:90"), gauss(pixels(server, "w:400/rot:90"), 2), 0.6, 2)


def test_smart(server):
    """Where most happens is in the part, whatever part of the picture that is."""
    px = pixels(server, "rs:fill:150:150/g:sm", "busy.png@png")
    wild = np.abs(px - 90).sum(-1) > 60
    ys, xs = np.nonzero(wild)
    assert wild.sum() > 1500 and xs.min() > 0 and xs.max() < 149, "all of it"
    middle = pixels(server, "rs:fill:150:150", "busy.png@png")
    assert np.abs(middle - 90).max() < 3
    px = pixels(server, "c:300:300:sm", "busy.png@png")
    assert (np.abs(px - 90).sum(-1) > 60).sum() > 30000
    px = pixels(server, "rs:fill:150:150/g:sm/rot:90", "busy.png@png")
    assert (np.abs(px - 90).sum(-1) > 60).sum() > 1500


def test_large_is_streamed(server):
    """Over four million pixels an answer leaves while it is made, frame and all."""
    r = server.get(url("w:2600/el:1/pd:5/bg:fff/g:sm", "waves.png@jpg"))
    assert r.status == 200 and r.size == (2610, 1743)
