# SPDX-License-Identifier: Apache-2.0
"""Every format, depth, colour space and layout, against a float model of the default rule (spec/iip.md 6). Exact but for CMYK,
CIELAB and YCbCr, whose colours differ by no more than 1 (CIEDE2000) from the model's, those of ICC's CIELAB from what lcms2's
transicc says; and for lossy formats that matrix_formats.LOSSY allows some levels: those are compared with another program's decode."""
import io
import os
import re
import subprocess

import numpy as np
import pytest
import tifffile

from colours import delta_e
from common import location
from make_matrix import RANGES, table
from matrix_formats import FORMATS, LOSSY

CONF = location("/i", "{data}", "IIPProfile strip") + location("/deep", "{data}", "IIPProfile strip", "IIPKeepDepth On")


def number(px, depth):
    """Stored codes as numbers."""
    kind, bits = depth[0], int(depth[1:])
    if kind == "s":
        return (px.astype(np.int64) ^ 1 << bits - 1) - (1 << bits - 1)
    if depth == "f24":  # 1 sign, 7 exponent, 16 fraction (Adobe's technical note 3)
        sign, power, rest = px >> 23, (px >> 16 & 127).astype(float), (px & 65535) / 65536.0
        v = np.where(power == 0, rest * 2.0 ** -62, (1 + rest) * 2.0 ** (power - 63))
        v = np.where(power == 127, np.where(rest == 0, np.inf, np.nan), v)
        return np.where(sign == 1, -v, v)
    return px.astype(np.float64 if kind == "f" else np.int64)


def eight(px, depth, white0=False, lo=0.0, hi=1.0):
    """Rule 4: integers by their upper bits, of less than 8 by their share of the whole range; floats cut at the ends."""
    kind, bits = depth[0], int(depth[1:])
    v = number(px, depth)
    if kind == "f":
        with np.errstate(all="ignore"):
            v = v.astype(np.float32).astype(float) if bits < 64 else v
            v = (lo + hi - v if white0 else v)
            v = (v - lo) / (hi - lo)
            return np.floor(np.where(np.isfinite(v), np.clip(v, 0, 1), 0) * 255)
    if kind == "s":
        v = v + (1 << bits - 1)
    top = (1 << bits) - 1
    v = top - v if white0 else v
    return v >> bits - 8 if bits >= 8 else np.floor(v * 255 / top + 0.5)


def of_lab(l, a, b):
    """spec/iip.md 6.2; what is no number is black."""
    l, a, b = [np.where(np.isfinite(v), v, 0) for v in (l, a, b)]
    c = (l + 16) / 116
    y = np.where(l < 8, l / 903.3, c ** 3)
    c = np.where(l < 8, 7.787 * y + 16 / 116, c)

    def cube(t):
        return np.where(t >= 0.2069, t ** 3, (t - 0.13793) / 7.787)

    x, z = 0.95047 * cube(a / 500 + c), 1.088827 * cube(c - b / 200)
    rgb = np.stack([3.2406255 * x - 1.537208 * y - 0.4986286 * z, -0.9689307 * x + 1.8757561 * y + 0.0415175 * z,
                    0.0557101 * x - 0.2040211 * y + 1.0569959 * z], -1)
    u = np.clip(rgb, 0, 1)
    return np.where(u <= 0.0031308, 12.92 * u, 1.055 * u ** (1 / 2.4) - 0.055) * 255


def lab_numbers(px, depth, icc):
    bits = int(depth[1:])
    if depth[0] == "f":
        return [px[..., i].astype(float) for i in range(3)]
    full, one = (255.0, 1) if bits == 8 else (65280.0 if icc else 65535.0, 256)
    l = np.minimum(px[..., 0] / full, 1) * 100
    axes = [px[..., i].astype(np.int64) for i in (1, 2)]
    return [l] + [a / one - 128 if icc else np.where(a < 128 * one, a, a - 256 * one) / one for a in axes]


def by_transicc(l, a, b):
    """CIELAB of profiles (D50) to sRGB, relative colorimetric."""
    text = "".join("%.6f %.6f %.6f\n" % v for v in zip(l.ravel(), a.ravel(), b.ravel()))
    p = subprocess.run(["transicc", "-i", "*Lab", "-o", "*sRGB", "-t1", "-n"], input=text, capture_output=True, text=True, check=True)
    rows = [line.split() for line in p.stdout.splitlines() if re.match(r" *-?[0-9]", line)]
    return np.clip(np.array(rows, float).reshape(l.shape + (3,)), 0, 255)


DELTA = -1  # in place of a number of levels: CIEDE2000 is no more than 1


def model(space, depth, px):
    """(what is shown, levels it may be off)"""
    alpha = eight(px[..., -1:], depth) if space.endswith("+alpha") else None
    kind = space if space in ("white0", "black0") else re.match("[a-z]+", space).group()
    most = 0
    if kind in ("white0", "black0", "grey"):
        shown = eight(px[..., :1], depth, kind == "white0")
    elif kind in ("rgb", "bands"):
        n = px.shape[2] - (alpha is not None)
        shown = eight(px[..., :3 if n >= 3 else 1], depth)
    elif kind == "range":
        lo, hi = RANGES[depth] if depth[0] == "f" else (0, 1)
        shown = eight(px, depth, lo=lo, hi=hi)
        most = 1 if depth[0] == "f" else 0
    elif kind == "palette":
        shown = table(int(depth[1:]))[px[..., 0]]
    elif kind == "cmyk":
        c = eight(px[..., :4], depth).astype(float)
        shown, most = (255 - c[..., :3]) * (255 - c[..., 3:]) / 255, DELTA
    elif kind in ("cielab", "icclab"):
        shown, most = (by_transicc if kind == "icclab" else of_lab)(*lab_numbers(px, depth, kind == "icclab")), DELTA
    elif kind in ("logl", "logluv"):
        light = 2.0 ** ((px[..., :1] + 0.5) / 256 - 64)
        if kind == "logluv":  # over the primaries of CCIR 709 and a white of equal energy
            u, v = [(px[..., i:i + 1] + 0.5) / 410 for i in (1, 2)]
            x, y = [a / (6 * u - 16 * v + 12) for a in (9 * u, 4 * v)]
            xyz = np.concatenate([x / y * light, light, (1 - x - y) / y * light], 2)
            light = xyz @ np.array([[2.690, -1.276, -0.414], [-1.022, 1.978, 0.044], [0.061, -0.224, 1.163]]).T
        shown, most = np.minimum(255, np.floor(256 * np.sqrt(np.clip(light, 0, None)))), 1
    else:
        assert kind == "ycc"
        y, cb, cr = [px[..., i].astype(float) - (128 if i else 0) for i in range(3)]
        shown, most = np.clip(np.stack([y + 1.402 * cr, y - 0.114 * 1.772 / 0.587 * cb - 0.299 * 1.402 / 0.587 * cr, y + 1.772 * cb], -1),
                              0, 255), DELTA
    return (shown if alpha is None else np.concatenate([shown, alpha], -1)), most


def difference(got, want, most):
    """By how much it is off at each pixel, 0 where it may be."""
    if most == DELTA:
        d = delta_e(got[..., :3] / 255, want[..., :3] / 255)
        d = np.where(d <= 1, 0, d)[..., None]
        return np.concatenate([d, np.abs(got - want)[..., 3:]], -1)
    d = np.abs(got - want)
    return np.where(d <= most, 0, d)


def same_bands(a, b):
    """A grey answer for a picture that happens to be grey is as good."""
    if a.shape[2] == b.shape[2] - 2:
        a = np.concatenate([np.repeat(a[..., :1], 3, 2), a[..., 1:]], 2)
    return a


def test_matrix(serve, data):
    s = serve(CONF)
    stored = dict(np.load(data + "/matrix/stored.npz"))
    wrong, n, formats = [], 0, set()
    for f in sorted(os.listdir(data + "/matrix")):
        if f == "stored.npz":
            continue
        name, layout = f.rsplit("-", 1)
        space, depth = name.split(".")[-1].rsplit("-", 1)
        ending = layout.split(".")[-1]
        formats.add(ending)
        r = s.get("/i/matrix/%s/full/max/0/default.png" % f.replace("+", "%2B"))
        n += 1
        if r.status != 200:
            wrong.append("%s: %d" % (f, r.status))
            continue
        want, most = model(space, depth, stored[name])
        if most != DELTA and not layout.startswith("lossless"):
            most = max(most, LOSSY.get(ending, 0))
        got = np.atleast_3d(r.pixels()).astype(float)
        got = got * 255 if got.max() == 1 and r.image().mode == "1" else got
        got = same_bands(got, want)
        if got.shape != want.shape:
            wrong.append("%s: %s, not %s" % (f, got.shape, want.shape))
        elif (d := difference(got, want, most)).max() > 0:
            at = np.unravel_index(d.argmax(), d.shape)
            wrong.append("%s: by %g at %s: %s stored, %s shown, not %s" % (f, d.max(), at, stored[name][at[0], at[1]], got[at], want[at]))
    assert not wrong, "%d of %d:\n%s" % (len(wrong), n, "\n".join(wrong))
    assert n > 600 and len(formats) >= len(FORMATS), formats


def test_depth_is_kept(serve, data):
    """IIPKeepDepth: integers of 9 to 16 bits as 16, white is white; shares of the whole range to the nearest."""
    s = serve(CONF)
    stored = dict(np.load(data + "/matrix/stored.npz"))
    wrong = []
    for bits in range(9, 17):
        for space, n in (("black0", 1), ("rgb", 3)):
            f = "%s-u%d" % (space, bits)
            r = s.get("/deep/matrix/%s-tiles.tif/full/max/0/default.tif" % f)
            assert r.status == 200, r
            got = tifffile.imread(io.BytesIO(r.body)).reshape(stored[f].shape)
            want = np.floor(stored[f].astype(float) * 65535 / ((1 << bits) - 1) + 0.5)
            if got.dtype != np.uint16 or not np.array_equal(got, want):
                wrong.append("%s: %s, by %s" % (f, got.dtype, np.abs(got - want).max()))
    assert not wrong, wrong
