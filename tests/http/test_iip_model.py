# SPDX-License-Identifier: Apache-2.0
"""Every command of IIP that sends pixels, over random pictures and random lists of the commands that change them, against spec/iip.md
6 worked out in floats by numpy: PTL, TTL, WTL, ATL (lossless) and CVT within one step; JTL, JTLS and TIL within JPEG's noise. And
every command with arguments that are missing, too many, huge, negative, no numbers or in the wrong place."""
import io
import itertools
import os
import re
import subprocess

import numpy as np
import pytest
import tifffile
from PIL import Image

import httpd
from common import near, shrink

CONF = '<Location "/iip">\nSetHandler iip-handler\nIIPRoot "%s"\n</Location>\n'
W, H, TILE = 150, 131, 64
COLUMNS, ROWS = -(-W // TILE), -(-H // TILE)
KERNELS = {"sobel": [-1, 0, 1, -2, 0, 2, -1, 0, 1], "prewitt": [1, 0, -1] * 3, "scharr": [-3, 0, 3, -10, 0, 10, -3, 0, 3],
           "laplace": [-1] * 4 + [8] + [-1] * 4, "gaussian": [1, 2, 1, 2, 4, 2, 1, 2, 1], "sharpen": [0, -1, 0, -1, 5, -1, 0, -1, 0],
           "emboss": [-2, -1, 0, -1, 1, 1, 0, 1, 2]}
# name: kind of samples, bands; the fourth of "alpha" is that
KINDS = {"g8": ("u1", 1), "rgb8": ("u1", 3), "g16": ("u2", 1), "rgb16": ("u2", 3), "g32": ("u4", 1), "s16": ("i2", 1), "f16": ("f2", 1),
         "f32": ("f4", 1), "f3": ("f4", 3), "f5": ("f4", 5), "b6": ("u1", 6), "f64": ("f8", 1), "alpha": ("u1", 4)}


def span(dtype):
    d = np.dtype(dtype)
    return (0.0, 1.0) if d.kind == "f" else (float(np.iinfo(d).min), float(np.iinfo(d).max))


def smooth(bands, rng):
    """0..1, so that a JPEG of it has little noise."""
    y, x = np.mgrid[0:H, 0:W] / W
    waves = [0.5 + 0.45 * np.sin(rng.uniform(1, 5) * x + rng.uniform(1, 5) * y + rng.uniform(0, 6)) for _ in range(bands)]
    return np.stack(waves, -1)


@pytest.fixture(scope="module")
def pictures(work):
    d = os.path.join(work, "model-%d" % os.getpid())
    os.makedirs(d, exist_ok=True)
    os.umask(0o022)
    rng = np.random.default_rng(9)
    arrays = {}
    for name, (dtype, bands) in KINDS.items():
        lo, hi = span(dtype)
        px = smooth(bands, rng) * (hi - lo) + lo
        px = (px if np.dtype(dtype).kind == "f" else np.floor(px)).astype(dtype)
        px = px[..., 0] if bands == 1 else px
        tifffile.imwrite(os.path.join(d, name + ".tif"), px, tile=(TILE, TILE), metadata=None,
                         photometric="rgb" if bands in (3, 4) else "minisblack", planarconfig=None if bands == 1 else "contig",
                         extrasamples=["unassalpha"] if bands == 4 else None)
        arrays[name] = px.reshape(H, W, bands).astype(float)
    with tifffile.TiffWriter(os.path.join(d, "stack.tif")) as t:
        for i in range(3):
            px = np.floor(255 * smooth(3, rng)).astype("u1")
            t.write(px, tile=(TILE, TILE), photometric="rgb", subfiletype=2, metadata=None)
            arrays["stack%d" % i] = px.astype(float)
    return d, arrays


# ---- the model ----

def horn(z, h, v, times):
    """Slopes of Horn by the differences of the eight neighbours. Outside lies what goes straight on, but beside the first and last
    row the nearest, as gdaldem has it."""
    azimuth, altitude = np.radians(h), np.radians(v)
    tall = np.pad(z * times, ((1, 1), (0, 0)), mode="reflect", reflect_type="odd")

    def light(p):
        dx = (p[:-2, 2:] + 2 * p[1:-1, 2:] + p[2:, 2:] - p[:-2, :-2] - 2 * p[1:-1, :-2] - p[2:, :-2]) / 8
        dy = (p[2:, :-2] + 2 * p[2:, 1:-1] + p[2:, 2:] - p[:-2, :-2] - 2 * p[:-2, 1:-1] - p[:-2, 2:]) / 8
        cosine = (np.sin(altitude) - np.cos(altitude) * (np.sin(azimuth) * dx - np.cos(azimuth) * dy)) / np.sqrt(1 + dx * dx + dy * dy)
        return np.where(cosine > 0, 1 + 254 * cosine, 1) / 255

    out = light(np.pad(tall, ((0, 0), (1, 1)), mode="reflect", reflect_type="odd"))
    out[[0, -1]] = light(np.pad(tall, ((0, 0), (1, 1)), mode="edge"))[[0, -1]]
    return out


def normals(v, h, up):
    sy, sz = np.cos(np.radians(h)), -np.sin(np.radians(up))
    sun = np.array([np.sqrt(1 - sy * sy) * (-1 if h > 180 else 1), sy, sz])
    sun /= np.linalg.norm(sun)
    return np.where((v[..., :3] == 0).all(-1), 0, np.clip(0.5 * (-(v[..., :3] - 0.5) * 2) @ sun, 0, 1))[..., None]


def jet(v):
    t = v[..., 0]
    pick = np.select([t < 0, t < 1 / 8, t < 3 / 8, t < 5 / 8, t < 7 / 8, t < 1], range(6), 6)
    z, one = np.zeros_like(t), np.ones_like(t)
    rgb = [(z, z, z), (z, z, 4 * t + .5), (z, 4 * t - .5, one), (4 * t - 1.5, one, 2.5 - 4 * t), (one, 3.5 - 4 * t, z), (4.5 - 4 * t, z, z),
           (z + .5, z, z)]
    return np.stack([np.choose(pick, [c[k] for c in rgb]) for k in range(3)], -1)


MAPS = {"hot": lambda v: np.clip(3 * v[..., :1] - np.arange(3), 0, 1), "cold": lambda v: np.clip(3 * v[..., :1] - np.arange(3), 0, 1)[..., ::-1],
        "jet": jet, "grey": lambda v: np.clip(np.repeat(v[..., :1], 3, -1), 0, 1),
        "red": lambda v: np.clip(v[..., :1], 0, 1) * [1, 0, 0], "green": lambda v: np.clip(v[..., :1], 0, 1) * [0, 1, 0],
        "blue": lambda v: np.clip(v[..., :1], 0, 1) * [0, 0, 1]}


def convolve(v, k):
    n = int(len(k) ** 0.5)
    p = np.pad(v, ((n // 2,) * 2, (n // 2,) * 2, (0, 0)), mode="edge")
    return sum(k[i] * p[i // n:i // n + H, i % n:i % n + W] for i in range(n * n)) / (sum(k) if sum(k) > 0 else 1)


def model(px, dtype, c):
    """What the whole picture looks like in 8 bits, 1 or 3 bands, as floats that are not cut to whole numbers yet."""
    lo, hi = span(dtype)
    bands = px.shape[2]
    if not set(c) - {"COL", "ROT"} and np.dtype(dtype).kind != "f":
        bits = 8 * np.dtype(dtype).itemsize
        v = np.floor((px - lo) / 2 ** (bits - 8))
    else:
        lows, highs = np.full(bands, lo), np.full(bands, hi)
        for channel, a, b in c.get("MINMAX", []):
            if channel < bands:
                lows[slice(None) if channel < 0 else channel] = a
                highs[slice(None) if channel < 0 else channel] = b
        v = (px - lows) / (highs - lows)
        if "SHD" in c and bands == 1:
            v = horn(px[..., 0], *(list(c["SHD"]) + [1])[:3])[..., None]
        elif "SHD" in c and bands >= 3:
            v = normals(v, *c["SHD"][:2])
        if "CTW" in c:
            m = np.zeros((len(c["CTW"]), v.shape[2]))
            for y, x in itertools.product(range(m.shape[0]), range(m.shape[1])):
                m[y, x] = c["CTW"][y][x] if x < len(c["CTW"][y]) else 0
            v = v @ m.T
        if c.get("GAM") == "log":
            v = np.log1p(255 * np.clip(v, 0, None)) / np.log(256)
        elif "GAM" in c:
            v = np.clip(v, 0, None) ** c["GAM"]
        v = 1 - v if "INV" in c else v
        v = MAPS[c["CMP"]](v) if "CMP" in c else v
        v = convolve(v, KERNELS.get(c["CNV"], c["CNV"]) if isinstance(c["CNV"], str) else c["CNV"]) if "CNV" in c else v
        v = np.clip(255 * c.get("CNT", 1) * v, 0, 255)
    v = v[..., :3] if v.shape[2] >= 3 else v[..., :1]
    if c.get("COL") and v.shape[2] == 3:
        v = (np.floor(v + 1e-3) @ [0.299, 0.587, 0.114])[..., None]  # of 8 bits
    return v


def turned(v, rot):
    flip, angle = rot
    v = v[:, ::-1] if flip else v
    return np.rot90(v, -(angle // 90))


def text_of(c):
    """The commands as a client writes them."""
    out = []
    for name, v in c.items():
        if name == "MINMAX":
            out += ["MINMAX=%s:%r,%r" % ("-" if ch < 0 else ch, a, b) for ch, a, b in v]
        elif name == "CTW":
            out.append("CTW=[%s]" % ";".join(",".join(map(repr, row)) for row in v))
        elif name == "CNV":
            out.append("CNV=" + (v if isinstance(v, str) else "[%s]" % ",".join(map(repr, v))))
        elif name == "SHD":
            out.append("SHD=" + ",".join(map(repr, v)))
        elif name == "ROT":
            out.append("ROT=%s%d" % ("!" if v[0] else "", v[1]))
        elif name == "INV":
            out.append("INV")
        else:
            out.append("%s=%s" % (name, v))
    return out


def random_commands(rng, name):
    dtype, bands = KINDS[name]
    lo, hi = span(dtype)
    r = lambda *a: round(float(rng.uniform(*a)), 3)  # noqa: E731
    value = lambda a, b: float(np.float32(lo + (hi - lo) * rng.uniform(a, b)))  # noqa: E731
    some = {
        "MINMAX": lambda: [(int(rng.integers(-1, 4)), value(0, .3), value(.7, 1)) for _ in range(rng.integers(1, 3))],
        "SHD": lambda: (int(rng.integers(0, 360)), int(rng.integers(1, 90))) + ((r(1, 40) / (hi - lo),) if bands == 1 else ()),
        "CTW": lambda: [[r(-1, 1) for _ in range(rng.integers(1, 7))] for _ in range(rng.choice([1, 3]))],
        "GAM": lambda: "log" if rng.random() < .3 else r(.4, 2.5),
        "INV": lambda: True,
        "CMP": lambda: str(rng.choice(list(MAPS))),
        "CNV": lambda: str(rng.choice(list(KERNELS))) if rng.random() < .6 else [r(-.5, 1) for _ in range(rng.choice([9, 25]))],
        "CNT": lambda: r(.3, 2),
        "COL": lambda: "grey",
        "ROT": lambda: (bool(rng.random() < .4), int(rng.integers(0, 4)) * 90),
    }
    names = [n for n in some if rng.random() < .3]
    rng.shuffle(names)
    return {n: some[n]() for n in names}


def alike(r, want):
    """The pixels of an answer (or an array) without alpha, and what they should be, both as rows x columns x 3."""
    got = r if isinstance(r, np.ndarray) else r.pixels()
    got = got if got.ndim == 2 or got.shape[2] % 2 else got[..., :-1]
    return [np.repeat(v, 3 // v.shape[2], -1).astype(float) for v in (got.reshape(got.shape[:2] + (-1,)), want)]


def close(r, want, most=1, share=0.003):
    """Within a step; where a value lies beside a leap of a colour map or a whole number, another few may be off."""
    got, want = alike(r, want)
    assert got.shape == want.shape
    far = np.abs(got - want) > most + 0.01
    assert far.sum() <= max(share * far.size, 6), (getattr(r, "asked", ""), np.abs(got - want).max(), far.mean())


def tile_of(v, n, rot):
    """What is sent as tile n: the other end's at 180 degrees, and turned in its place."""
    n = COLUMNS * ROWS - 1 - n if rot[1] == 180 else n
    x, y = n % COLUMNS * TILE, n // COLUMNS * TILE
    return turned(v[y:y + TILE, x:x + TILE], rot)


def ask(s, name, commands, send):
    r = s.get("/iip?" + "&".join(["FIF=%s.tif" % name] + commands + [send]))
    assert r.status == 200, (commands, send, r)
    r.asked = (name, commands, send)
    return r


def top_of(s, name):
    return int(s.get("/iip?FIF=%s.tif&OBJ=Resolution-number" % name).body.split(b":")[1]) - 1


@pytest.mark.parametrize("name", sorted(KINDS))
def test_random_lists(serve, pictures, name):
    """Tiles without loss and the whole picture."""
    s = serve(CONF % pictures[0])
    rng = np.random.default_rng(sorted(KINDS).index(name) + 100)
    r = top_of(s, name)
    for i in range(24):
        c = random_commands(rng, name) if i else {}
        want = model(pictures[1][name][..., :3] if name == "alpha" else pictures[1][name], KINDS[name][0], c)
        rot = c.get("ROT", (False, 0))
        text = text_of(c) + [["ICC=0"], ["LYR=1"], ["SDS=0,90"], ["QLT=9"], []][i % 5]
        got = ask(s, name, text, "CVT=png").pixels()
        close(got, np.floor(turned(want, rot)) if set(c) <= {"ROT"} else turned(want, rot))
        assert name != "alpha" or (got[..., -1] == turned(pictures[1][name][..., 3], rot)).all()
        small = shrink(want if "COL" in c else np.floor(want + 1e-3), 50, 44)  # after all but grey
        if name != "alpha":  # colours of transparent pixels count less
            near(*alike(ask(s, name, text + ["WID=50"], "CVT=png"), turned(small, rot)), 1.5, 8)
        n = int(rng.integers(0, COLUMNS * ROWS))
        for send, quality in (("PTL", "QLT=1"), ("TTL", "QLT=deflate:1"), ("WTL", "QLT=0")):
            close(ask(s, name, text + [quality], "%s=%d,%d" % (send, r, n)), tile_of(want, n, rot))
        if i % 8 == 7:
            close(avif(ask(s, name, text + ["QLT=-1"], "ATL=%d,%d" % (r, n)), pictures[0]), tile_of(want, n, rot), 2)


def avif(r, folder):
    assert r["Content-Type"] == "image/avif"
    path = os.path.join(folder, "tile.avif")
    with open(path, "wb") as f:
        f.write(r.body)
    subprocess.run(["avifdec", path, path + ".png"], check=True, stdout=subprocess.DEVNULL)
    return np.asarray(Image.open(path + ".png"))


@pytest.mark.parametrize("commands", ["", "INV", "GAM=0.6&CNT=1.2", "CTW=[0,0,1;0,1,0;1,0,0]", "COL=grey", "CMP=hot", "CNV=gaussian", "ROT=180"])
def test_lossy_tiles(serve, pictures, commands):
    """JTL of each tile of a picture, JTLS of each page, TIL of rectangles: the bytes of JTL, which is near the model."""
    s = serve(CONF % pictures[0])
    c = {"": {}, "INV": {"INV": 1}, "GAM=0.6&CNT=1.2": {"GAM": .6, "CNT": 1.2}, "CTW=[0,0,1;0,1,0;1,0,0]": {"CTW": np.eye(3)[::-1].tolist()},
         "COL=grey": {"COL": 1}, "CMP=hot": {"CMP": "hot"}, "CNV=gaussian": {"CNV": "gaussian"}, "ROT=180": {}}[commands]
    rot = (False, 180 if "ROT" in commands else 0)
    text, r = [commands] * bool(commands) + ["QLT=95"], top_of(s, "rgb8")
    want = model(pictures[1]["rgb8"], "u1", c)
    tiles = []
    for n in range(COLUMNS * ROWS):
        answer = ask(s, "rgb8", text, "JTL=%d,%d" % (r, n))
        near(*alike(answer, tile_of(want, n, rot)), 2, 24)
        tiles.append(answer.body)
    for a, b in ((0, COLUMNS * ROWS - 1), (1, COLUMNS + 2), (COLUMNS + 2, 1), (2, COLUMNS), (4, 4)):
        body = ask(s, "rgb8", text, "TIL=%d,%d-%d" % (r, a, b)).body
        xs, ys = sorted((a % COLUMNS, b % COLUMNS)), sorted((a // COLUMNS, b // COLUMNS))
        numbers = [y * COLUMNS + x for x in range(xs[0], xs[1] + 1) for y in range(ys[0], ys[1] + 1)]
        assert body == b"".join(b"Tile,%d,%d,0/%d:\2\0\0\0\0\x11\0\0%s\r\n" % (r, n, len(tiles[n]) + 8, tiles[n]) for n in numbers)
    for page in range(3):
        want = model(pictures[1]["stack%d" % page], "u1", c)
        for n in (0, COLUMNS * ROWS - 1):
            answer = ask(s, "stack", text, "JTLS=%d,%d,%d,90" % (page, r, n))
            near(*alike(answer, tile_of(want, n, rot)), 2, 24)
            assert answer.body == ask(s, "stack", text + ["SDS=%d,90" % page], "JTL=%d,%d" % (r, n)).body


def test_values(serve, pictures):
    """SPECTRA and PFL know no commands that change colours: stored values, whatever stands before them."""
    s = serve(CONF % pictures[0])
    for name in sorted(KINDS):
        px, r = pictures[1][name], top_of(s, name)
        dtype, bands = KINDS[name]
        whole = {"u1": 255, "u2": 65535}.get(dtype, 1)
        for n, x, y in ((0, 3, 7), (COLUMNS + 1, 63, 0), (COLUMNS * ROWS - 1, 1, 2)):
            v = px[n // COLUMNS * TILE + y, n % COLUMNS * TILE + x, 0] / whole
            for before in ([], ["INV", "CNT=2", "QLT=3"]):
                assert b"<reflectance>%f</reflectance>" % v in ask(s, name, before, "SPECTRA=%d,%d,%d,%d" % (r, n, x, y)).body
        for send, want in (("5,9-90,9", px[9, 5:90]), ("149,3-149,131", px[3:131, 149]), ("70,70", px[70, 70:71])):
            got = ask(s, name, ["GAM=2", "ROT=90"], "PFL=%d:%s" % (r, send)).json()["profile"]
            assert np.allclose(got, want.ravel(), rtol=0, atol=6e-10), (name, send)


def test_later_ones_win(serve, pictures):
    """A command that comes twice counts as the last one does; contrast, stretch and equalisation are one, so are gamma and log."""
    s = serve(CONF % pictures[0])
    for many, one in (("CNT=3&CNT=0.5", "CNT=0.5"), ("CNT=stretch&CNT=0.5", "CNT=0.5"), ("CNT=2&CNT=stretch", "CNT=st"), ("CNT=eq&CNT=1", ""),
                      ("GAM=2&GAM=log", "GAM=log"), ("GAM=log&GAM=1", ""), ("INV&INV=0", "INV"), ("CMP=hot&CMP=jet", "CMP=jet"), ("CMP=hot&CMP=none", ""),
                      ("CTW=[1]&CTW=[0,1,0;1,0,0;0,0,1]", "CTW=[0,1,0;1,0,0;0,0,1]"), ("CNV=sobel&CNV=[1]", "CNV=[1]"), ("SHD=1,2&SHD=90,30", "SHD=90,30"),
                      ("COL=binary&COL=grey", "COL=grey"), ("ROT=90&ROT=!270", "ROT=!270"), ("ROT=90&ROT=0", ""), ("WID=9&WID=40", "WID=40"),
                      ("HEI=9&HEI=0", ""), ("RGN=0,0,.1,.1&RGN=.5,.5,.25,.25", "RGN=.5,.5,.25,.25"), ("QLT=5&QLT=7", "QLT=7"), ("SDS=0,0&SDS=0,90", ""),
                      ("LYR=1&LYR=0", ""), ("MINMAX=0:9,90&MINMAX=0:50,60", "MINMAX=0:50,60"), ("MINMAX=2:9,90&MINMAX=-:50,60", "MINMAX=-:50,60")):
        a, b = (ask(s, "rgb8", [q] if q else [], "CVT=png") for q in (many, one))
        assert a.body == b.body and a["ETag"] == b["ETag"], many


def test_most(serve, folder):
    """Section 10: 64 tiles by TIL, 65536 pixels by PFL, 16 rows of 64 by CTW."""
    tifffile.imwrite(os.path.join(folder, "grid.tif"), np.arange(144 * 144, dtype="u2").reshape(144, 144), tile=(16, 16), photometric="minisblack")
    tifffile.imwrite(os.path.join(folder, "wide.tif"), np.arange(70000, dtype="u4").reshape(1, -1), photometric="minisblack")
    s = serve(CONF % folder)
    tiles = [s.get("/iip?FIF=grid.tif&TIL=%d,0-%d" % (top_of(s, "grid"), n)) for n in (70, 71, 80)]  # 8 x 8, 9 x 8, 9 x 9
    assert [r.status for r in tiles] == [200, 400, 400] and tiles[0].body.count(b"Tile,") == 64
    line = [s.get("/iip?FIF=wide.tif&PFL=%d:7,0-%d,0" % (top_of(s, "wide"), 7 + n)) for n in (65536, 65537)]
    assert [r.status for r in line] == [200, 400] and line[0].json()["profile"] == list(range(7, 65543))
    for rows, columns, status in ((16, 64, 200), (17, 64, 400), (16, 65, 400)):
        assert s.get("/iip?FIF=grid.tif&CTW=[%s]&WID=9&CVT=png" % ";".join([",".join(["1"] * columns)] * rows)).status == status


# ---- arguments that are none ----

ODD = ["", "0", "-1", "+1", "1", "1,", ",", "1,2", "1,2,3", "1,2,3,4", "1,2,3,4,5", "1:2", "1:2,3", "0:1,2-3,4", "1,2-3", "-", ":", ";", "[", "[]", "[;]", "nan",
       "inf", "-inf", "1e999", "-1e999", "1e-999", "99999999999999999999999999", "-99999999999999999999999999", "0,99999999999999999999",
       "99999999999999999999,0", "0x10", "1.5.5", "abc", "%00", "%zz", "%ff%fe", "%26", "=", "==", "a=b", "!", "!!90", "45", "90;90", "\xe4", "%c3%a4", "<b>", "'",
       "..%2f..", "x" * 300, "1" * 300, ",".join(["1"] * 64), ",".join(["1"] * 80), ";".join(["1"] * 20), "nan,nan", "nan:nan,nan", "0,0,nan,1", "1e38,1e38",
       "-:1,1", "-:5,1", "1e39", "0:nan,nan"]
ALL = ["FIF", "OBJ", "JTL", "PTL", "WTL", "ATL", "TTL", "JTLS", "TIL", "CVT", "WID", "HEI", "RGN", "ROT", "QLT", "SDS", "MINMAX", "CNT", "GAM", "SHD", "CMP", "INV",
       "CTW", "COL", "CNV", "LYR", "SPECTRA", "PFL", "ICC"]
SENDS = {"JTL", "PTL", "WTL", "ATL", "TTL", "JTLS", "TIL", "CVT", "SPECTRA", "PFL"}


@pytest.mark.parametrize("command", ALL)
def test_odd_arguments(serve, pictures, command):
    """200, or an error of the table with its text; a picture is one that can be decoded."""
    s = serve(CONF % pictures[0])
    link = None
    for value, where in itertools.product(ODD, (0, 1, 2)):
        part = "%s=%s" % (command, value) if value else command
        parts = [["FIF=rgb8.tif", part, "WID=20", "CVT=png"], [part, "FIF=rgb8.tif", "WID=20", "CVT=png"],
                 ["FIF=rgb8.tif", "WID=20", "CVT=png", part]][where]
        target = "/iip?" + "&".join(parts).encode().decode("latin-1")
        link = link or httpd.Connection(s.port)
        r = link.request("GET", target)
        if r["Connection"] == "close":
            link = None
        assert r.status in (200, 400, 404), (target, r)
        if r.status != 200:
            m = re.fullmatch(rb"Error/(\d+):(1 3|2 1|2 2|3 2) ([^\r\n]*)\r\n", r.body)
            assert m and int(m[1]) == len(m[2]) + 1 + len(m[3]), (target, r)
            assert where < 2, "behind the one that sends nothing counts: %s %r" % (target, r)
        elif r["Content-Type"].startswith("image/") and r["Content-Type"] != "image/avif":
            assert Image.open(io.BytesIO(r.body)).size[0] > 0
        if where == 1 and command in SENDS and value:
            assert r.status in (400, 404) and (b":1 3 " in r.body or value in ("%00", "%zz")), (target, r)
