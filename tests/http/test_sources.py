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


def test_layers(serve, data, folder):
    """IIPMaxLayers: as OpenJPEG's own program with as many layers; a tile of fewer is another answer of another ETag."""
    s = serve("".join(location("/" + n, "{data}", "IIPMaxLayers " + n) for n in ("all", "half", "1")))
    tags = set()
    for name, n in (("all", 3), ("half", 2), ("1", 1)):
        r = s.get("/%s/jp2/layers.jp2/full/max/0/default.png" % name)
        subprocess.run(["opj_decompress", "-i", data + "/jp2/layers.jp2", "-o", folder + "/l.ppm", "-l", str(n)], check=True,
                       stdout=subprocess.DEVNULL)
        near(shown(r), np.asarray(Image.open(folder + "/l.ppm").convert("RGB")), 0, 0)
        tags.add(r["ETag"])
    assert len(tags) == 3


# ---- AVIF, HEIC, JPEG XL, GIF: files of other programs


def picture(w=260, h=170):
    y, x = np.mgrid[0:h, 0:w]
    px = np.stack([x * 255 / w, y * 255 / h, 128 + 90 * np.sin(x / 20 + y / 31)], -1)
    px[h // 2:, w // 2:] = 255 - px[h // 2:, w // 2:]
    px[:20, :30] = (250, 20, 20)
    return px.astype(np.uint8)


def saved(folder, name, px, **kw):
    path = folder + "/" + name
    Image.fromarray(px).save(path, **kw)
    return path


def run(*a):
    subprocess.run(a, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def ask(s, name):
    r = s.get("/s/%s/full/max/0/default.png" % name)
    got = shown(r)
    d = s.get("/s/%s/info.json" % name).json()
    assert (d["height"], d["width"]) == got.shape[:2]
    return got


def sideways(folder, px):
    """A JPEG that EXIF wants turned right."""
    ex = Image.Exif()
    ex[0x112] = 6
    return saved(folder, "sideways.jpg", px, quality=95, subsampling=0, exif=ex)


def test_avif(serve, folder):
    px = picture()
    fade = np.tile((np.arange(260) * 255 // 259).astype(np.uint8), (170, 1))
    plain, clear = saved(folder, "p.png", px), saved(folder, "c.png", np.dstack([px, fade]))
    run("avifenc", "--lossless", plain, folder + "/plain.avif")
    run("avifenc", "--lossless", clear, folder + "/clear.avif")
    run("avifenc", "--lossless", "--irot", "1", plain, folder + "/left.avif")
    run("avifenc", "--lossless", "--imir", "1", plain, folder + "/mirrored.avif")
    run("avifenc", "--min", "0", "--max", "2", "-d", "10", "-y", "444", plain, folder + "/ten.avif")
    s = serve(location("/s", folder), fresh=True)
    near(ask(s, "plain.avif"), px, 0, 0)
    near(ask(s, "clear.avif"), np.dstack([px, fade]), 0, 0)
    near(ask(s, "left.avif"), np.rot90(px), 0, 0)
    near(ask(s, "mirrored.avif"), px[:, ::-1], 0, 0)
    near(ask(s, "ten.avif"), px, 0.7, 4)


def test_heic(serve, folder):
    px = picture()
    plain = saved(folder, "p.png", px)
    deep = folder + "/d.png"
    Image.fromarray(px[..., 0].astype(np.uint16) * 257).save(deep)
    best = ("-L", "-p", "chroma=444")
    run("heif-enc", *best, plain, "-o", folder + "/plain.heic")
    run("heif-enc", *best, "-b", "10", deep, "-o", folder + "/ten.heic")
    run("heif-enc", "-q", "95", "-p", "chroma=444", sideways(folder, px), "-o", folder + "/sideways.heic")
    s = serve(location("/s", folder), fresh=True)
    if s.get("/s/plain.heic/info.json").status == 415:
        pytest.skip("built without libheif")
    for name in ("plain", "sideways"):
        run("heif-convert", folder + "/%s.heic" % name, folder + "/%s.back.png" % name)
        near(ask(s, name + ".heic"), np.asarray(Image.open(folder + "/%s.back.png" % name).convert("RGB")), 0, 0)
    near(ask(s, "plain.heic"), px, 1, 3)
    near(ask(s, "ten.heic"), np.repeat(px[..., :1], 3, 2), 0.7, 2)


def test_jxl(serve, folder):
    px = picture()
    fade = np.tile((np.arange(260) * 255 // 259).astype(np.uint8), (170, 1))
    plain, clear = saved(folder, "p.png", px), saved(folder, "c.png", np.dstack([px, fade]))
    run("cjxl", "-d", "0", plain, folder + "/plain.jxl")
    run("cjxl", "-d", "0", "--container=1", clear, folder + "/clear.jxl")
    run("cjxl", "-d", "1", plain, folder + "/lossy.jxl")
    run("cjxl", "-j", "1", sideways(folder, px), folder + "/sideways.jxl")
    s = serve(location("/s", folder), fresh=True)
    if s.get("/s/plain.jxl/info.json").status == 415:
        pytest.skip("built without libjxl")
    near(ask(s, "plain.jxl"), px, 0, 0)
    near(ask(s, "clear.jxl"), np.dstack([px, fade]), 0, 0)
    run("djxl", folder + "/lossy.jxl", folder + "/lossy.png")
    near(ask(s, "lossy.jxl"), np.asarray(Image.open(folder + "/lossy.png").convert("RGB")), 0.1, 1)
    near(ask(s, "sideways.jxl"), np.rot90(px, -1), 2, 30)


def test_gif(serve, folder):
    """The first frame on its canvas; what is transparent is clear."""
    px = picture()
    first = Image.fromarray(px).quantize(200)
    first.save(folder + "/two.gif", save_all=True, append_images=[Image.fromarray(255 - px).quantize(200)], duration=100)
    clear = first.copy()
    clear.putpixel((0, 0), 201)
    clear.save(folder + "/clear.gif", transparency=201)
    s = serve(location("/s", folder), fresh=True)
    near(ask(s, "two.gif"), np.asarray(first.convert("RGB")), 0, 0)
    got = ask(s, "clear.gif")
    assert got.shape[2] == 4 and (got[..., 3] == 0).sum() == 1 and got[0, 0, 3] == 0


@pytest.mark.log("corrupt|format|HEIC|JPEG XL|AVIF|GIF|lib/jxl|OBU")
def test_cut_and_damaged(serve, folder):
    """Half a file is 415 or 500, never a crash; so is one with bytes of another in it."""
    px = picture()
    plain = saved(folder, "p.png", px)
    run("avifenc", "-s", "10", plain, folder + "/a.avif")
    run("heif-enc", plain, "-o", folder + "/a.heic")
    run("cjxl", plain, folder + "/a.jxl")
    saved(folder, "a.gif", px)
    s = serve(location("/s", folder), fresh=True)
    for n in ("a.avif", "a.heic", "a.jxl", "a.gif"):
        with open(folder + "/" + n, "rb") as f:
            b = f.read()
        for name, data in (("cut", b[:len(b) // 2]), ("tail", b[:-7]), ("mixed", b[:len(b) // 2] + b[100:400] + b[len(b) // 2:])):
            with open("%s/%s-%s" % (folder, name, n), "wb") as f:
                f.write(data)
            assert s.get("/s/%s-%s/full/max/0/default.png" % (name, n)).status in (200, 415, 500)
    assert s.get("/s/a.gif/info.json").status == 200
