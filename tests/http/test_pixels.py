# SPDX-License-Identifier: Apache-2.0
"""Pixels against independent models: PIL, tifffile, vips, ImageMagick, float arithmetic in numpy. Each test states its tolerance."""
import io
import os
import subprocess

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from common import difference, gray_of, lanczos, location, near, read, refused, shrink

CONF = (location("/i", "{data}", "IIPMaxSize 20000", "IIPMaxArea 0", "IIPMaxMemory 1G") + location("/near", "{data}", "IIPInterpolation nearest")
        + location("/bili", "{data}", "IIPInterpolation bilinear"))


def ask(s, path, mode=None):
    r = s.get("/i/" + path)
    assert r.status == 200, (path, r)
    return r.pixels(mode)


# ---- exact parts: crop, mirror, quarter turns, gray, bitonal


@pytest.mark.any_mpm
@pytest.mark.parametrize("box", [(0, 0, 1, 1), (1, 1, 2, 3), (255, 255, 2, 2), (256, 0, 256, 256), (100, 1300, 700, 300), (2559, 1599, 1, 1),
                                 (0, 777, 2560, 1), (1277, 0, 1, 1600), (13, 17, 511, 513)])
def test_crop_is_exact(serve, data, box):
    s = serve(CONF)
    x, y, w, h = box
    got = ask(s, "photo_deflate.tif/%d,%d,%d,%d/max/0/default.png" % box)
    near(got, read(data + "/photo_deflate.tif")[y:y + h, x:x + w], 0, 0)


@pytest.mark.parametrize("rotation", ["0", "90", "180", "270", "!0", "!90", "!180", "!270"])
@pytest.mark.parametrize("box", ["10,20,300,200", "300,300,1,77", "0,0,257,255"])
def test_turns_are_exact(serve, data, rotation, box):
    s = serve(CONF)
    x, y, w, h = map(int, box.split(","))
    px = read(data + "/photo_deflate.tif")[y:y + h, x:x + w]
    if rotation[0] == "!":
        px = px[:, ::-1]
    near(ask(s, "photo_deflate.tif/%s/max/%s/default.png" % (box, rotation)), np.rot90(px, -(int(rotation.strip("!")) // 90)), 0, 0)


def test_gray_and_bitonal_are_exact(serve, data):
    """Y = 0.299 R + 0.587 G + 0.114 B, within 1 level for the arithmetic; bitonal splits at 128."""
    s = serve(CONF)
    px = read(data + "/photo_deflate.tif")[100:500, 100:600]
    g = ask(s, "photo_deflate.tif/100,100,500,400/max/0/gray.png", "L")
    near(g, gray_of(px), 0.5, 1)
    b = ask(s, "photo_deflate.tif/100,100,500,400/max/0/bitonal.png", "L")
    near(b, (g >= 128) * 255.0, 0, 0)
    a = ask(s, "alpha.tif/full/max/0/gray.png")
    assert a.shape[2] == 2 and (a[..., 1] == np.asarray(Image.open(data + "/alpha.tif"))[..., 3]).all(), "alpha is kept"


def test_alpha(serve, data):
    s = serve(CONF)
    px = np.asarray(Image.open(data + "/alpha.tif"))
    near(ask(s, "alpha.tif/full/max/0/default.png"), px, 0, 0)
    a = px[..., 3:] / 255.0
    on_white = px[..., :3] * a + 255 * (1 - a)
    near(ask(s, "alpha.tif/full/max/0/default.jpg", "RGB"), on_white, 2, 40)
    # shrinking weighs colours by their alpha
    got = ask(s, "alpha.tif/full/50,40/0/default.png").astype(float)
    alpha = shrink(px[..., 3:].astype(float), 50, 40)
    colour = shrink(px[..., :3] * (px[..., 3:] / 255.0), 50, 40) / np.maximum(alpha / 255.0, 1e-9)
    near(got[..., 3:], alpha, 0.6, 1.5)
    seen = alpha[..., 0] > 20
    near(got[..., :3][seen], colour[seen], 1, 4)


# ---- tiles: copied from the levels, one to one


@pytest.mark.parametrize("name,level", [("photo_deflate.tif", 0), ("photo_deflate.tif", 1), ("photo_deflate.tif", 2), ("photo_deflate.tif", 3), ("t3073.tif", 1),
                                        ("t3073.tif", 2), ("squares.tif", 1), ("squares.tif", 2)])
def test_tiles_are_the_stored_level(serve, data, name, level):
    """R35: every tile of a scale, put together, is the stored level; one row or column more than stored repeats the last one."""
    s = serve(CONF)
    with tifffile.TiffFile("%s/%s" % (data, name)) as t:
        stored = t.series[0].levels[level].asarray()
        full = t.series[0].levels[0].shape
        n = t.pages[0].tilewidth
    f, h, w = 1 << level, full[0], full[1]
    want = np.pad(stored, ((0, 1), (0, 1), (0, 0)), "edge")
    for y in range(0, h, n * f):
        for x in range(0, w, n * f):
            rw, rh = min(n * f, w - x), min(n * f, h - y)
            ow, oh = -(-rw // f), -(-rh // f)
            if (rw, rh) == (ow, oh) and f > 1:
                continue  # a corner of one pixel is asked at its own size: that is the full level
            got = ask(s, "%s/%d,%d,%d,%d/%d,%d/0/default.png" % (name, x, y, rw, rh, ow, oh))
            model = want[y // f:y // f + oh, x // f:x // f + ow]
            assert np.array_equal(got, model), (x, y, ow, oh, difference(got, model))


def test_sizes_are_the_stored_levels(serve, data):
    s = serve(CONF)
    with tifffile.TiffFile(data + "/photo_deflate.tif") as t:
        for lv in t.series[0].levels:
            near(ask(s, "photo_deflate.tif/full/%d,%d/0/default.png" % (lv.shape[1], lv.shape[0])), lv.asarray(), 0, 0)


# ---- resampling


@pytest.mark.parametrize("box,size", [((0, 0, 2560, 1600), (640, 400)), ((0, 0, 2560, 1600), (320, 200)), ((0, 0, 2560, 1600), (300, 188)),
                                      ((0, 0, 2560, 1600), (101, 63)), ((100, 200, 1000, 900), (333, 300)), ((7, 9, 501, 499), (99, 98)),
                                      ((0, 0, 2560, 1600), (1000, 625)), ((3, 5, 1024, 768), (500, 375)), ((0, 0, 2560, 1600), (50, 400))])
def test_shrinking_is_area_true(serve, data, box, size):
    """Against the area average of the full picture, or, where the nearest level is not yet twice as large, PIL's Lanczos of it: mean
    1.2, because a pyramid's levels are rounded; a point sampler is at 5 and more here. And a shift by one answer pixel is worse."""
    s = serve(CONF)
    x, y, w, h = box
    got = ask(s, "photo_deflate.tif/%d,%d,%d,%d/%d,%d/0/default.png" % (*box, *size)).astype(float)
    px = read(data + "/photo_deflate.tif")[y:y + h, x:x + w]
    model = min((shrink(px, *size), lanczos(px, *size)), key=lambda a: difference(got, a)[0])
    m, most = difference(got, model)
    assert m <= 1.2 and most <= 60, (m, most)
    for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        assert difference(np.roll(got, (dy, dx), (0, 1))[2:-2, 2:-2], model[2:-2, 2:-2])[0] > m


@pytest.mark.parametrize("box,size", [((0, 0, 2560, 1600), (2000, 1250)), ((50, 60, 640, 400), (500, 312)), ((50, 60, 640, 400), (639, 399)),
                                      ((100, 100, 200, 100), (400, 200)), ((100, 100, 200, 100), (333, 167)), ((5, 5, 64, 64), (1000, 1000)),
                                      ((2500, 1540, 60, 60), (150, 150))])
def test_little_shrinking_and_growing(serve, data, box, size):
    """Against Lanczos of PIL, the nearer of it and bicubic: mean 1.5."""
    s = serve(CONF)
    x, y, w, h = box
    got = ask(s, "photo_deflate.tif/%d,%d,%d,%d/^%d,%d/0/default.png" % (*box, *size))
    px = read(data + "/photo_deflate.tif")[y:y + h, x:x + w]
    near(got, lanczos(px, *size), 1.5, 60)


def test_against_vips_and_imagemagick(serve, data, folder):
    """Two other programs on the same shrink: mean 1.5 levels."""
    s = serve(CONF)
    got = ask(s, "photo_deflate.tif/full/400,250/0/default.png")
    subprocess.run(["vips", "thumbnail", data + "/photo.jpg", folder + "/v.png", "400", "--height", "250", "--size", "force"], check=True,
                   env=dict(os.environ, VIPS_WARNING="0"))
    near(got, read(folder + "/v.png"), 1.5, 50)
    subprocess.run(["convert", data + "/photo.jpg", "-filter", "Box", "-resize", "400x250!", folder + "/m.png"], check=True)
    near(got, read(folder + "/m.png"), 1.5, 50)


def test_flat_stays_flat(serve, data):
    """Weights sum to one, edges included: the middle of a colour square keeps its colour to the level, at any scale."""
    s = serve(CONF)
    px = read(data + "/squares.png")
    for size in (999, 501, 500, 499, 250, 123):
        for box, i, j in (("0,0,100,100", 0, 0), ("900,900,100,100", 9, 9), ("300,500,100,100", 3, 5)):
            got = ask(s, "squares_flat.tif/%s/^%d,%d/0/default.png" % (box, size, size))
            near(got, np.tile(px[j * 100, i * 100], (size, size, 1)), 0, 0)
    got = ask(s, "squares_flat.tif/full/1,1/0/default.png")
    near(got, px.mean((0, 1))[None, None], 1, 1.5)


def test_interpolations(serve, data):
    s = serve(CONF)
    a = s.get("/near/squares_flat.tif/0,0,200,200/^400,400/0/default.png").pixels()
    near(a, np.kron(read(data + "/squares.png")[:200, :200], np.ones((2, 2, 1))), 0, 0)
    px = read(data + "/photo_deflate.tif")[100:200, 100:300]
    b = s.get("/bili/photo_deflate.tif/100,100,200,100/^500,250/0/default.png").pixels()
    near(b, np.asarray(Image.fromarray(px).resize((500, 250), Image.BILINEAR)), 0.7, 4)


def test_seams(serve, data):
    """A region that crosses tiles and the same region moved by whole pixels agree in what they share (no scaling)."""
    s = serve(CONF)
    a = ask(s, "photo_deflate.tif/200,200,200,200/max/0/default.png")
    b = ask(s, "photo_deflate.tif/210,205,190,195/max/0/default.png")
    near(a[5:, 10:], b, 0, 0)


# ---- JPEG to JPEG, which is never RGB on its way


def ycc(px):
    """JFIF's planes of RGB, as floats."""
    r, g, b = (px[..., i].astype(float) for i in range(3))
    return [0.299 * r + 0.587 * g + 0.114 * b, 128 - 0.168736 * r - 0.331264 * g + 0.5 * b, 128 + 0.5 * r - 0.418688 * g - 0.081312 * b]


@pytest.mark.parametrize("turn", ["0", "!0", "90"])
@pytest.mark.parametrize("box,size", [((0, 0, 2560, 1600), (400, 250)), ((0, 0, 2560, 1600), (401, 251)), ((0, 0, 2560, 1600), (300, 188)),
                                      ((3, 5, 1024, 768), (500, 375)), ((101, 33, 777, 555), (777, 555)), ((100, 200, 512, 400), (512, 400)),
                                      ((1281, 641, 1279, 959), (333, 250)), ((2400, 1501, 159, 99), (317, 199)), ((7, 9, 3, 5), (3, 5))])
def test_jpeg_to_jpeg(serve, data, box, size, turn):
    """Stored as YCbCr 4:2:0 and asked so: each plane of the answer is as near to that of the answer as PNG, which is made of RGB and
    compared with models above, as PIL's JPEG of this one is at the same quality (a twentieth and 0.1 level more at most), on the
    average within 0.3, and (where pixels are not made larger, which hides it) nearer than any shift by one pixel, or one of chroma."""
    s = serve(CONF)
    path = "photo.tif/%d,%d,%d,%d/^%d,%d/%s/default." % (*box, *size, turn)
    px = ask(s, path + "png", "RGB")
    coded = io.BytesIO()
    Image.fromarray(px).save(coded, "JPEG", quality=75, subsampling="4:2:0")
    for k, (a, b, c) in enumerate(zip(ycc(ask(s, path + "jpg", "RGB")), ycc(px), ycc(np.asarray(Image.open(coded))))):
        assert a.shape == b.shape
        assert abs(a.mean() - b.mean()) <= 0.3
        if k:  # what a chroma sample stands for
            h, w = (v // 2 * 2 for v in a.shape)
            a, b, c = (v[:h, :w].reshape(h // 2, 2, w // 2, 2).mean((1, 3)) for v in (a, b, c))
        off, most = np.abs(a - b).mean(), np.abs(c - b).mean() * 1.05 + 0.1
        assert off <= most, (k, off, most)
        for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            if min(a.shape) > 20 and size[0] <= box[2]:
                assert np.abs(np.roll(a, (dy, dx), (0, 1))[2:-2, 2:-2] - b[2:-2, 2:-2]).mean() > off, (k, dy, dx)


def test_jpeg_to_jpeg_whatever_is_cached(serve, data):
    """The same bytes where nothing is kept, and where the tiles were kept as pixels or as planes before."""
    paths = ["photo.tif/%s/default.jpg" % p for p in ("full/400,250/0", "101,33,777,555/400,/0", "0,0,2560,1600/777,/0", "100,200,512,400/max/0")]
    cold = serve(CONF + "IIPCacheSize 0 0\n")
    want = [cold.get("/i/" + p).body for p in paths]
    s = serve(CONF)
    for p in paths:
        ask(s, p[:-3] + "png")
    assert [s.get("/i/" + p).body for p in paths] == want
    assert [s.get("/i/" + p).body for p in reversed(paths)] == want[::-1]


@pytest.mark.parametrize("angle", [0.5, 10, 45, 133.7, 200, 359])
@pytest.mark.parametrize("mirror", ["", "!"])
def test_turning(serve, data, angle, mirror):
    """Any angle against PIL's bicubic turn about the same centre: mean 2 levels within the picture; corners clear; edges soft."""
    s = serve(CONF)
    px = read(data + "/photo_deflate.tif")[300:700, 400:1000]
    got = ask(s, "photo_deflate.tif/400,300,600,400/max/%s%g/default.png" % (mirror, angle))
    a = np.deg2rad(angle)
    w = abs(600 * np.cos(a)) + abs(400 * np.sin(a))
    h = abs(600 * np.sin(a)) + abs(400 * np.cos(a))
    assert abs(got.shape[1] - w) <= 0.51 and abs(got.shape[0] - h) <= 0.51
    im = Image.fromarray(px[:, ::-1] if mirror else px)
    H, W = got.shape[:2]
    c, n = np.cos(a), np.sin(a)
    # output pixel centre -> source, turned clockwise about the middles
    back = (c, n, 300 - c * W / 2 - n * H / 2, -n, c, 200 + n * W / 2 - c * H / 2)
    model = np.asarray(im.transform((W, H), Image.AFFINE, back, Image.BICUBIC))
    inside = np.asarray(Image.new("L", (600, 400), 255).transform((W, H), Image.AFFINE, back, Image.BILINEAR)) == 255
    inside = inside[1:-1, 1:-1] & inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
    near(got[1:-1, 1:-1, :3][inside], model[1:-1, 1:-1][inside], 2, 70)
    assert (got[1:-1, 1:-1, 3][inside] == 255).all()
    if angle > 5:
        assert got[0, 0, 3] == 0 and got[-1, -1, 3] == 0
    assert len(np.unique(got[..., 3])) > (2 if angle == 45 else 10), "soft edges"


def test_jpeg_reading(serve, data):
    """A JPEG source against libjpeg's own decode; its half, quarter and eighth against the area average (scaled DCT: mean 2)."""
    s = serve(CONF)
    px = read(data + "/photo.jpg")
    near(ask(s, "photo.jpg/full/max/0/default.png"), px, 0, 0)
    near(ask(s, "photo.jpg/1001,777,333,222/max/0/default.png"), px[777:999, 1001:1334], 0, 0)
    for f in (2, 4, 8):
        near(ask(s, "photo.jpg/full/%d,%d/0/default.png" % (2560 // f, 1600 // f)), shrink(px, 2560 // f, 1600 // f), 2, 60)


def test_jpeg_writing(serve, data):
    """What we encode decodes near what we send as PNG: quality 75, mean 3 levels, no colour shift."""
    s = serve(CONF)
    a = ask(s, "photo_deflate.tif/300,300,800,600/500,/0/default.jpg").astype(float)
    b = ask(s, "photo_deflate.tif/300,300,800,600/500,/0/default.png").astype(float)
    near(a, b, 3, 90)
    assert np.abs((a - b).mean((0, 1))).max() < 0.6


# ---- every kind of file that make_tiff.py and make_jpeg.py make


def upright(a, orientation):
    """Rows and columns as the tag's number says: 1 as stored, 6 turned right, 8 turned left..."""
    return {1: lambda x: x, 2: lambda x: x[:, ::-1], 3: lambda x: x[::-1, ::-1], 4: lambda x: x[::-1], 5: lambda x: x.swapaxes(0, 1),
            6: lambda x: np.rot90(x, -1), 7: lambda x: x[::-1, ::-1].swapaxes(0, 1), 8: lambda x: np.rot90(x)}[orientation](a)


def of_inks(cmyk):
    """CMYK without a profile: the plain formula of printers' inks over white paper."""
    c = cmyk.astype(float)
    return np.floor((255 - c[..., :3]) * (255 - c[..., 3:]) / 255 + 0.5)


def in_eight_bits(name, a):
    """What the answer should show of a picture's samples, and the tolerance: (pixels, mean, most)."""
    if name.startswith("cmyk"):
        return of_inks(a), 1, 4
    if a.dtype == np.uint16:
        return a / 257.0, 0.51, 1
    if name.startswith("jp2_33003") or name.endswith("_ycc"):
        return a, 0.1, 1  # luma and chroma to RGB, rounded
    if name == "float32":
        return (a.astype(float) + 2) / 7 * 255, 1, 1.5  # by its SMinSampleValue and SMaxSampleValue
    return a, 0, 0


def same_shape(a):
    """Gray repeated to RGB, alpha as it is."""
    a = np.asarray(a)
    a = a * 255.0 if a.dtype == bool else a.astype(float)
    a = a[..., None] if a.ndim == 2 else a
    return np.concatenate([np.repeat(a[..., :1], 3, 2), a[..., 1:]], 2) if a.shape[2] < 3 else a


LOSSY = {"jpeg": (1.5, 40), "webp": (2.5, 60)}  # decoded by PIL's libraries: another upsampling of the colours is allowed
UNSHOWN = {"int16", "bands5", "bands7_planar"}  # how they look in 8 bit is the business of other tests; they must be shown at all


@pytest.mark.any_mpm
def test_every_tiff(serve, data):
    """Each file of make_tiff.py as PNG, to the level where the file keeps its pixels."""
    s = serve(CONF)
    expect = dict(np.load(data + "/tiff/expected.npz"))
    wrong, n = [], 0
    for f in sorted(os.listdir(data + "/tiff")):
        name = f[:-4]
        if not f.endswith(".tif"):
            continue
        n += 1
        try:
            r = s.get("/i/tiff/%s/full/max/0/default.png" % f)
            assert r.status == 200, r
            got = same_shape(r.pixels())
            if name in UNSHOWN:
                continue
            if name in expect:
                a, mean, most = in_eight_bits(name, expect[name])
                if name.startswith("orientation"):
                    a = upright(a, int(name[-1]))
            else:
                a, (mean, most) = np.asarray(Image.open("%s/tiff/%s" % (data, f)).convert("RGB")), LOSSY["webp" if "webp" in f else "jpeg"]
            near(got, same_shape(a), mean, most)
            d = s.get("/i/tiff/%s/info.json" % f).json()
            assert (d["height"], d["width"]) == got.shape[:2]
        except AssertionError as e:
            wrong.append("%s: %s" % (f, str(e)[:160]))
    assert not wrong, "\n".join(wrong)
    assert n > 90


@pytest.mark.any_mpm
@pytest.mark.log("corrupt")
def test_every_jpeg(serve, data):
    """Each file of make_jpeg.py against PIL's decode: to the level; upright."""
    s = serve(CONF)
    wrong, n = [], 0
    for f in sorted(os.listdir(data + "/jpeg")):
        if not f.endswith(".jpg"):
            continue
        n += 1
        try:
            r = s.get("/i/jpeg/%s/full/max/0/default.png" % f)
            if f.startswith("cut"):
                refused(r, 500, "corrupt")
                continue
            assert r.status == 200, r
            im = ImageOps.exif_transpose(Image.open("%s/jpeg/%s" % (data, f))) if f != "no-eoi.jpg" else Image.open(data + "/jpeg/baseline.jpg")
            a, mean, most = (of_inks(np.asarray(im)), 1, 4) if im.mode == "CMYK" else (np.asarray(im), 0, 0)
            near(same_shape(r.pixels()), same_shape(a), mean, most)
            assert 274 not in r.image().getexif(), "the tag is never copied (R31)"
            j = s.get("/i/jpeg/%s/full/max/0/default.jpg" % f)
            assert j.status == 200 and j.size == r.size and 274 not in j.image().getexif()
            d = s.get("/i/jpeg/%s/info.json" % f).json()
            assert (d["width"], d["height"]) == im.size
        except AssertionError as e:
            wrong.append("%s: %s" % (f, str(e)[:160]))
    assert not wrong, "\n".join(wrong)
    assert n > 40


@pytest.mark.parametrize("kind", ["tiff/orientation%d.tif", "jpeg/orient%d.jpg", "jpeg/orient%d-mm.jpg"])
def test_orientation_everywhere(serve, kind):
    """R31: regions, sizes and turns count in the upright picture, for all eight the same way."""
    s = serve(CONF)
    wrong = []
    for o in range(1, 9):
        path = kind % o
        d = s.get("/i/%s/info.json" % path).json()
        full = ask(s, path + "/full/max/0/default.png", "RGB")
        w, h = d["width"], d["height"]
        assert full.shape[:2] == (h, w)
        for x, y, rw, rh in ((0, 0, 64, 64), (64, 128, 64, 64), (100, 50, 77, 99), (w - 40, h - 30, 40, 30), (0, h - 1, w, 1), (w - 1, 0, 1, h)):
            got = ask(s, "%s/%d,%d,%d,%d/max/0/default.png" % (path, x, y, rw, rh), "RGB")
            if not np.array_equal(got, full[y:y + rh, x:x + rw]):
                wrong.append((path, x, y, rw, rh))
        near(ask(s, path + "/full/max/!90/default.png", "RGB"), np.rot90(full[:, ::-1], -1), 0, 0)
        near(ask(s, "%s/full/%d,%d/0/default.png" % (path, w // 3, h // 3), "RGB"), shrink(full, w // 3, h // 3), 2.5, 70)
    assert not wrong, wrong
