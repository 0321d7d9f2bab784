# SPDX-License-Identifier: Apache-2.0
"""Sources of the formats besides TIFF and JPEG (those are in test_pixels.py), each against the pixels that its maker kept or
against another program's decode."""
import os
import subprocess

import numpy as np
import pytest
from PIL import Image

from common import location, near

CONF = location("/i")


def shown(r):
    """An answer as RGB or RGBA."""
    assert r.status == 200, r
    px = np.asarray(r.pixels()).astype(float)
    px = px[..., None] if px.ndim == 2 else px
    return np.concatenate([np.repeat(px[..., :1], 3, 2), px[..., 1:]], 2) if px.shape[2] < 3 else px


def in_colours(a):
    a = a[..., None] if a.ndim == 2 else a
    return np.repeat(a, 3, 2) if a.shape[2] == 1 else a


def decompressed(path, folder):
    """By OpenJPEG's own program; HT by Grok's."""
    out = folder + "/by.ppm"
    program = "grk_decompress" if path.endswith(".jph") else "opj_decompress"
    subprocess.run([program, "-i", path, "-o", out], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return np.asarray(Image.open(out).convert("RGB"))


# how far from that other program's decode: rounding of the wavelet; its way of widening half the chroma
LOSSY = {"sycc420.jp2": (2.5, 40)}
JP2_FULL = {"gray12.jp2": 4095 / 255, "gray16.jp2": 257}
SHOWN_ONLY = {"cmyk.jp2", "lab.jp2", "signed16.jp2"}  # their colours are the business of other tests


@pytest.mark.any_mpm
@pytest.mark.log("corrupt")
def test_every_jp2(serve, data, folder):
    """Each file of make_jp2.py: whole and in part, at half its size as large; a cut one is an error or a picture."""
    s = serve(CONF)
    wrong, n = [], 0
    for f in sorted(os.listdir(data + "/jp2")):
        if f.endswith(".npy"):
            continue
        n += 1
        try:
            url = "/i/jp2/" + f
            r = s.get(url + "/full/max/0/default.png")
            if f == "cut.jp2":
                assert r.status == 500, r
                continue
            got = shown(r)
            d = s.get(url + "/info.json").json()
            assert (d["height"], d["width"]) == got.shape[:2]
            part = shown(s.get(url + "/40,30,150,90/max/0/default.png"))
            near(part, got[30:120, 40:190], 0, 0)
            assert shown(s.get(url + "/full/%d,/0/default.png" % (got.shape[1] // 2))).shape[1] == got.shape[1] // 2
            if f in SHOWN_ONLY:
                continue
            if os.path.exists("%s/jp2/%s.npy" % (data, f)):
                want = np.load("%s/jp2/%s.npy" % (data, f)) / JP2_FULL.get(f, 1)
                near(got, in_colours(want), 0.5 * (f in JP2_FULL), 0.51 * (f in JP2_FULL))
            else:
                near(got, decompressed("%s/jp2/%s" % (data, f), folder), *LOSSY.get(f, (0.6, 3)))
        except AssertionError as e:
            wrong.append("%s: %s" % (f, str(e)[:160]))
    assert not wrong, "\n".join(wrong)
    assert n > 25
