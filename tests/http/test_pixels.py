# SPDX-License-Identifier: Apache-2.0
"""Pixels against independent models: PIL, tifffile, vips, ImageMagick, float arithmetic in numpy. Each test states its tolerance."""
import os
import subprocess

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

import httpd
from common import gray_of, lanczos, location, near, difference, read, refused, shrink

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
            got = ask(s, "%s/%d,%d,%d,%d/%d,%d/0/default.png" % (name, x, y, rw, rh, ow, oh))
            near(got, want[y // f:y // f + oh, x // f:x // f + ow], 0, 0)


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
    """Against the area average of the full picture: mean 1.2, because a pyramid's levels are rounded; a point sampler is at 5 and
    more here. And a shift by one answer pixel is worse."""
    s = serve(CONF)
    x, y, w, h = box
    got = ask(s, "photo_deflate.tif/%d,%d,%d,%d/%d,%d/0/default.png" % (*box, *size)).astype(float)
    model = shrink(read(data + "/photo_deflate.tif")[y:y + h, x:x + w], *size)
    m, most = difference(got, model)
    assert m <= 1.2 and most <= 40, (m, most)
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
    assert len(np.unique(got[..., 3])) > 10, "soft edges"


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


# ---- every kind of file


def kinds():
    """Known before the pictures are made? No: so one test that goes through them, and tells all that are wrong."""
    made = os.path.join(httpd.TOP, "build", "data")
    for d in ("tiff", "jpeg"):
        for n in sorted(os.listdir(os.path.join(made, d))):
            if n.endswith((".tif", ".tiff", ".jpg", ".jpeg", ".btf")):
                yield d + "/" + n


def decode(path):
    """The upright picture by another program: (array, tolerance of the mean, of the most)."""
    im = Image.open(path)
    if im.format == "JPEG":
        im = ImageOps.exif_transpose(im)
        if im.mode == "CMYK":
            cmyk = np.asarray(im).astype(float)
            return np.floor((255 - cmyk[..., :3]) * (255 - cmyk[..., 3:]) / 255 + 0.5), 1.0, 6
        return np.asarray(im), 0, 0
    orientation = im.tag_v2.get(274, 1)
    a = np.asarray(im)
    if orientation != 1:
        turn = {2: Image.FLIP_LEFT_RIGHT, 3: Image.ROTATE_180, 4: Image.FLIP_TOP_BOTTOM, 5: Image.TRANSPOSE, 6: Image.ROTATE_270, 7: Image.TRANSVERSE,
                8: Image.ROTATE_90}[orientation]
        a = np.asarray(im.transpose(turn))
    return a, 0, 0


def same_kind(a):
    """Arrays of any mode as float RGB, gray repeated."""
    a = np.asarray(a)
    if a.dtype == bool:
        a = a * 255
    a = a.astype(float)
    return np.repeat(a[..., None], 3, 2) if a.ndim == 2 else a
