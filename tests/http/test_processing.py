# SPDX-License-Identifier: Apache-2.0
"""Image processing by the commands of IIP (spec/iip.md 6, 11): depths and kinds of samples, whole pictures and tiles, against numpy;
heights against gdaldem."""
import os
import subprocess

import numpy as np
import pytest
import tifffile

CONF = '<Location "/iip">\nSetHandler iip-handler\nIIPRoot "%s"\n</Location>\n'
W, H, TILE = 300, 290, 128


def ramp(top, low=0):
    """A picture of all values."""
    y, x = np.mgrid[0:H, 0:W]
    return low + np.round((x * 7 + y * 3) % 997 / 996 * (top - low))


@pytest.fixture(scope="module")
def pictures(work):
    d = os.path.join(work, "processing")
    os.makedirs(d, exist_ok=True)
    rng = np.random.default_rng(5)

    def put(name, px, **more):
        tifffile.imwrite(os.path.join(d, name), px, tile=(TILE, TILE), **more)

    put("u8.tif", ramp(255).astype("u1"))
    put("u16.tif", ramp(65535).astype("u2"))
    put("u32.tif", ramp(4294967295).astype("u4"))
    put("s16.tif", ramp(32767, -32768).astype("i2"))
    put("f16.tif", (ramp(1000) / 1000).astype("f2"))
    put("f32.tif", (ramp(1000) / 1000).astype("f4"))
    put("f64.tif", (ramp(1000) / 1000).astype("f8"))
    put("tagged.tif", (ramp(5000) - 1000).astype("f4"), extratags=[(340, "f", 1, -1000.0, True), (341, "f", 1, 4000.0, True)])
    put("flat16.tif", np.full((H, W), 6553, "u2"))
    put("rgb.tif", np.broadcast_to(np.array([27, 19, 2], "u1"), (H, W, 3)).copy(), photometric="rgb")
    put("noise.tif", rng.integers(0, 256, (H, W, 3)).astype("u1"), photometric="rgb")
    put("many.tif", rng.random((H, W, 6)).astype("f4"), photometric="minisblack", planarconfig="contig")
    y, x = np.mgrid[0:H, 0:W] / 40
    heights = sum(np.sin(k * x + k * k) * np.cos(k * y - k) * 60 / k for k in range(1, 9)) + rng.random((H, W)) * 2
    put("heights.tif", heights.astype("f4"))
    put("heights16.tif", (heights * 20 + 8000).astype("i2"))
    return d


def pixels(s, name, commands, send="CVT=png"):
    r = s.get("/iip?FIF=%s&%s%s" % (name, commands and commands + "&", send))
    assert r.status == 200, r
    return r.pixels()


def whole(v):
    return np.floor(np.clip(255 * v, 0, 255) + 1e-3)


RANGES = {"u8.tif": (0, 255), "u16.tif": (0, 65535), "u32.tif": (0, 4294967295), "s16.tif": (-32768, 32767), "f16.tif": (0, 1),
          "f32.tif": (0, 1), "f64.tif": (0, 1), "tagged.tif": (-1000, 4000)}
LISTS = {
    "GAM=0.5": lambda v, lo, hi: np.sqrt(np.clip((v - lo) / (hi - lo), 0, None)),
    "GAM=log": lambda v, lo, hi: np.log1p(255 * np.clip((v - lo) / (hi - lo), 0, None)) / np.log(256),
    "INV": lambda v, lo, hi: 1 - (v - lo) / (hi - lo),
    "CNT=1.7": lambda v, lo, hi: 1.7 * (v - lo) / (hi - lo),
    "MINMAX=0:%(a)s,%(b)s": lambda v, lo, hi: ((v - lo) / (hi - lo) - 0.25) / 0.5,
    "MINMAX=0:%(a)s,%(b)s&GAM=2&INV&CNT=0.5": lambda v, lo, hi: 0.5 * (1 - np.clip(((v - lo) / (hi - lo) - 0.25) / 0.5, 0, None) ** 2),
}


@pytest.mark.parametrize("commands", sorted(LISTS))
@pytest.mark.parametrize("name", sorted(RANGES))
def test_depths(serve, pictures, name, commands):
    lo, hi = RANGES[name]
    a, b = (repr(float(lo + (hi - lo) * share)) for share in (0.25, 0.75))
    v = tifffile.imread(os.path.join(pictures, name)).astype(float)
    want = whole(LISTS[commands](v, lo, hi))
    got = pixels(serve(CONF % pictures), name, commands % {"a": a, "b": b})
    assert got.shape == want.shape and np.abs(got - want).max() <= 1
    assert (got != want).mean() < 0.02


@pytest.mark.parametrize("name,commands,want", [
    ("flat16.tif", "", 25), ("flat16.tif", "GAM=.5", 80), ("flat16.tif", "INV", 229), ("rgb.tif", "CNT=2", (54, 38, 4)),
    ("rgb.tif", "GAM=log", (153, 137, 50)), ("rgb.tif", "CTW=[0,0,1;0,1,0;1,0,0]", (2, 19, 27)), ("rgb.tif", "COL=grey", 19),
    ("rgb.tif", "CMP=jet", (0, 0, 235))])
def test_vectors(serve, pictures, name, commands, want):
    """Section 11."""
    assert (pixels(serve(CONF % pictures), name, commands) == want).all()


def test_vector_of_a_range(serve, pictures):
    assert pixels(serve(CONF % pictures), "flat16.tif", "MINMAX=0:0,6553").min() >= 253


@pytest.mark.parametrize("kernel,k", [
    ("sobel", [-1, 0, 1, -2, 0, 2, -1, 0, 1]), ("gaussian", [1, 2, 1, 2, 4, 2, 1, 2, 1]), ("sharpen", [0, -1, 0, -1, 5, -1, 0, -1, 0]),
    ("[%s]" % ",".join("1" * 25), [1] * 25)])
def test_kernels_without_seams(serve, pictures, kernel, k):
    s = serve(CONF % pictures)
    v = tifffile.imread(os.path.join(pictures, "noise.tif")) / 255
    n = int(len(k) ** 0.5)
    m = n // 2
    wide = np.pad(v, ((m, m), (m, m), (0, 0)), mode="edge")
    want = sum(k[i] * wide[i // n:i // n + H, i % n:i % n + W] for i in range(n * n)) / max(sum(k), 1 if sum(k) <= 0 else 0)
    want = whole(want)
    assert np.abs(pixels(s, "noise.tif", "CNV=" + kernel) - want).max() <= 1
    top = s.get("/iip?FIF=noise.tif&OBJ=Resolution-number").body
    r = int(top.split(b":")[1]) - 1
    columns = -(-W // TILE)
    for n in range(columns * -(-H // TILE)):
        x, y = n % columns * TILE, n // columns * TILE
        tile = pixels(s, "noise.tif", "CNV=" + kernel, "PTL=%d,%d" % (r, n))
        assert np.abs(tile - want[y:y + TILE, x:x + TILE]).max() <= 1, n


def test_many_bands(serve, pictures):
    """The matrix sees all six."""
    v = tifffile.imread(os.path.join(pictures, "many.tif")).astype(float)
    m = np.array([[0, 0, 0, 0, 0, 1], [0.5, 0, 0, 0, 0.5, 0], [-1, 0, 0, 1, 0, 0]])
    got = pixels(serve(CONF % pictures), "many.tif", "CTW=[%s]" % ";".join(",".join(map(str, row)) for row in m))
    assert np.abs(got - whole(v @ m.T)).max() <= 1


def test_normals(serve, pictures):
    v = tifffile.imread(os.path.join(pictures, "many.tif")).astype(float)[..., :3]
    sy, sz = np.cos(np.radians(200)), -np.sin(np.radians(30))
    sun = np.array([-np.sqrt(1 - sy * sy), sy, sz])
    sun /= np.linalg.norm(sun)
    got = pixels(serve(CONF % pictures), "many.tif", "SHD=200,30")
    assert np.abs(got - whole(np.clip(0.5 * (-(v - 0.5) * 2) @ sun, 0, 1))).max() <= 1


def gdaldem(folder, px, scale, options):
    """Hillshade of a north-up picture with pixels of that size; its edges too."""
    plain, placed, out = (os.path.join(folder, n) for n in ("plain.tif", "placed.tif", "out.tif"))
    tifffile.imwrite(plain, px)
    h, w = px.shape
    subprocess.run(["gdal_translate", "-q", "-a_ullr", "0", str(h * scale), str(w * scale), "0", plain, placed], check=True)
    subprocess.run(["gdaldem", "hillshade", "-q", "-compute_edges"] + options + [placed, out], check=True)
    return tifffile.imread(out).astype(int)


@pytest.mark.parametrize("command,options", [
    ("SHD=315,45", ["-az", "315", "-alt", "45"]), ("SHD=30,60,0.5", ["-az", "30", "-alt", "60", "-z", "0.5"]),
    ("SHD=200,10,3", ["-az", "200", "-alt", "10", "-z", "3"]), ("SHD=90,90", ["-az", "90", "-alt", "90"])])
@pytest.mark.parametrize("name", ["heights.tif", "heights16.tif"])
def test_heights(serve, pictures, folder, name, command, options):
    """Every tile, within one step of gdaldem."""
    s = serve(CONF % pictures)
    want = gdaldem(folder, tifffile.imread(os.path.join(pictures, name)).astype("f4"), 1, options)
    assert np.abs(pixels(s, name, command) - want).max() <= 1
    columns = -(-W // TILE)
    r = int(s.get("/iip?FIF=%s&OBJ=Resolution-number" % name).body.split(b":")[1]) - 1
    for n in range(columns * -(-H // TILE)):
        x, y = n % columns * TILE, n // columns * TILE
        assert np.abs(pixels(s, name, command, "PTL=%d,%d" % (r, n)) - want[y:y + TILE, x:x + TILE]).max() <= 1


def test_heights_of_a_level(serve, pictures, folder, work):
    """Pixels of a level half the size are twice as wide."""
    px = tifffile.imread(os.path.join(pictures, "heights.tif"))
    half = px[:288, :].reshape(144, 2, 150, 2).mean((1, 3)).astype("f4")
    path = os.path.join(pictures, "levels.tif")
    with tifffile.TiffWriter(path) as t:
        t.write(px[:288], tile=(64, 64), subifds=1)
        t.write(half, tile=(64, 64), subfiletype=1)
    want = gdaldem(folder, half, 2, ["-az", "315", "-alt", "45"])
    got = pixels(serve(CONF % pictures), "levels.tif", "SHD=315,45&WID=150")
    assert got.shape == want.shape and np.abs(got - want).max() <= 1


def test_maps(serve, pictures):
    """Colour maps by name, any case; unknown ones are none."""
    s = serve(CONF % pictures)
    v = tifffile.imread(os.path.join(pictures, "f32.tif")).astype(float)
    got = pixels(s, "f32.tif", "CMP=HOT")
    assert np.abs(got - whole(np.clip(3 * v[..., None] - np.arange(3), 0, 1))).max() <= 1
    assert (pixels(s, "f32.tif", "CMP=nothing") == pixels(s, "f32.tif", "")).all()
    for name in ("cold", "jet", "red", "green", "blue", "viridis", "magma", "inferno", "plasma", "cividis", "turbo", "terrain"):
        assert pixels(s, "f32.tif", "CMP=" + name).shape == (H, W, 3)
    grey = pixels(s, "f32.tif", "CMP=grey")
    assert np.abs(grey - whole(v)[..., None]).max() <= 1


def test_histogram(serve, pictures):
    """Stretch, equalise and Otsu's threshold of the whole smallest level; all tiles alike."""
    s = serve(CONF % pictures)
    v = tifffile.imread(os.path.join(pictures, "u8.tif")).astype(int)
    r = int(s.get("/iip?FIF=u8.tif&OBJ=Resolution-number").body.split(b":")[1])
    h = np.bincount(v.ravel(), minlength=256)  # the file has one level
    equal, binary = pixels(s, "u8.tif", "CNT=equalization"), pixels(s, "u8.tif", "COL=binary")
    assert (equal == np.floor(255 * np.cumsum(h)[v] / h.sum() + 0.5)).all()
    between = [h[:t].sum() * h[t:].sum() * (np.average(np.arange(t), weights=h[:t]) - np.average(np.arange(t, 256), weights=h[t:])) ** 2
               if h[:t].sum() and h[t:].sum() else 0 for t in range(256)]
    assert (binary == (v >= np.argmax(between))).all()
    for n in range(4):
        x, y = n % 3 * TILE, n // 3 * TILE
        for command, want in (("CNT=equalization", equal), ("COL=binary", binary)):
            tile = pixels(s, "u8.tif", command, "PTL=%d,%d" % (r - 1, n))
            assert (tile == want[y:y + TILE, x:x + TILE]).all()
