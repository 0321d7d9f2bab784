# SPDX-License-Identifier: Apache-2.0
"""Pictures of jobs against a model: a ramp of red and green is known at every point, however it was stored, turned, cut
and scaled (spec/imgserve.md section 3)."""
import io
import os
import subprocess

import numpy as np
from PIL import Image, ImageOps

from jobs import Jobs, size_of

W, H = 600, 500
GRAVITY = {"third": None, "center": (.5, .5), "north": (.5, 0), "south": (.5, 1), "east": (1, .5), "west": (0, .5), "ne": (1, 0), "nw": (0, 0),
           "se": (1, 1), "sw": (0, 1), "0.25,0.75": (.25, .75)}
TURN = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270}  # what undoes each: how it is stored


def ramp(w=W, h=H):
    """Red is how far right a point is, green how far down, 0..255; blue is 128."""
    y, x = np.mgrid[0:h, 0:w].astype(float)
    return np.stack([(x + .5) / w * 255, (y + .5) / h * 255, np.full((h, w), 128.)], -1)


def image(pixels):
    return Image.fromarray(np.round(pixels).astype("uint8"))


def covered(w, h, ow, oh, gravity="third"):
    """Part of the source, 0..1, that a crop shows: left, top, width, height. The old rule in whole pixels of the scaled picture."""
    scale = max(ow / w, oh / h)
    sw, sh = round(w * scale), round(h * scale)
    dx, dy = sw - ow, sh - oh
    left, top = (dx // 2, dy // 3) if gravity == "third" else (round(GRAVITY[gravity][0] * dx), round(GRAVITY[gravity][1] * dy))
    return left / sw, top / sh, ow / sw, oh / sh


def expect(got, part, ow, oh, slack=3):
    """got shows that part of the ramp; not asked of the outermost points, whose surroundings filters make up."""
    assert got.shape[:2] == (oh, ow)
    u = part[0] + (np.arange(ow) + .5) / ow * part[2]
    v = part[1] + (np.arange(oh) + .5) / oh * part[3]
    want = np.stack([np.broadcast_to(u, (oh, ow)), np.broadcast_to(v[:, None], (oh, ow))], -1) * 255
    off = np.abs(got[2:-2, 2:-2, :2].astype(float) - want[2:-2, 2:-2])
    assert off.max() <= slack, off.max()
    assert np.abs(got[2:-2, 2:-2, 2].astype(float) - 128).max() <= slack


class Works(Jobs):
    """Jobs from file to file, many in a batch: {name: (source, args)} -> {name: Image or the job's state}."""

    def batch(self, wanted, op="resize"):
        jobs = [dict(operationType=op, srcURL="file:///" + src, dstURL="file:///" + name, placeholder=False,
                     args=dict({"width": 200, "height": 120}, **args)) for name, (src, args) in wanted.items()]
        replies = self.ask("POST", "/jobs", {"jobs": jobs}).json()["results"]
        out = {}
        for name, r in zip(wanted, replies):
            assert "id" in r, (name, r)
            s = self.wait(r["id"], 90)
            assert s["state"] == "done", (name, s)
            with open(self.path("out", name), "rb") as f:
                out[name] = Image.open(io.BytesIO(f.read()))
            out[name].load()
            assert out[name].size == (s["width"], s["height"]) or wanted[name][1].get("fit") == "fit"
        return out

    def store(self, name, im, **opt):
        im.save(self.path("in", name), **opt)
        return name


def rgb(im):
    return np.asarray(im.convert("RGB"))


def test_gravity_and_fit(folder, serve):
    jobs = Works(serve, folder)
    jobs.store("wide.png", image(ramp(900, 300)))
    jobs.store("tall.png", image(ramp(300, 900)))
    sizes = {"wide": (900, 300), "tall": (300, 900)}
    wanted = {"%s-%s.png" % (s, g): (s + ".png", {"gravity": g}) for s in sizes for g in GRAVITY}
    wanted["default.png"] = ("tall.png", {})
    got = jobs.batch(wanted)
    for name, im in got.items():
        src, _, g = name[:-4].partition("-")
        expect(rgb(im), covered(*sizes[src if g else "tall"], 200, 120, g or "third"), 200, 120)
    # by hand, not by the model: 300 x 900 becomes 200 x 600, of whose 480 spare rows 160 go off the top
    assert abs(int(rgb(got["default.png"])[60, 100, 1]) - (160 + 60.5) / 600 * 255) < 3
    whole = (0, 0, 1, 1)
    got = jobs.batch({"fit.png": ("tall.png", {"fit": "fit"}), "stretch.png": ("tall.png", {"fit": "stretch"}),
                      "pad.png": ("tall.png", {"fit": "pad", "background": "0000ff"}), "large.png": ("wide.png", {"width": 1800, "height": 600, "enlarge": True}),
                      "turn.png": ("wide.png", {"width": 120, "height": 200, "rotate": 90, "gravity": "center"})})
    expect(rgb(got["fit.png"]), whole, 40, 120, slack=5)
    expect(rgb(got["stretch.png"]), whole, 200, 120)
    pad = rgb(got["pad.png"])
    expect(pad[:, 80:120], whole, 40, 120, slack=5)
    assert (pad[:, :79] == (0, 0, 255)).all() and (pad[:, 121:] == (0, 0, 255)).all()
    expect(rgb(got["large.png"]), whole, 1800, 600)
    back = np.rot90(rgb(got["turn.png"]), 1)  # clockwise as asked: this undoes it
    expect(back, covered(900, 300, 200, 120, "center"), 200, 120)


def test_orientation(folder, serve):
    jobs = Works(serve, folder)
    upright = image(ramp())
    for o in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = o
        for ext, opt in (("jpg", {"quality": 95}), ("tif", {})):
            stored = upright.transpose(TURN[o]) if o > 1 else upright
            jobs.store("%d.%s" % (o, ext), stored, exif=exif, **opt)
        with Image.open(jobs.path("in", "%d.jpg" % o)) as im:
            assert np.abs(rgb(ImageOps.exif_transpose(im)).astype(int) - rgb(upright)).max() < 16  # the set-up is right
    got = jobs.batch({"%d.%s.png" % (o, e): ("%d.%s" % (o, e), {}) for o in range(1, 9) for e in ("jpg", "tif")})
    for im in got.values():
        expect(rgb(im), covered(W, H, 200, 120), 200, 120, slack=4)
    # as it lies: 500 x 600, turned. And checks are of the turned size: 550 x 400 is there upright, not as it lies
    got = jobs.batch({"asis.png": ("6.jpg", {"orient": False}), "wide.png": ("6.jpg", {"width": 550, "height": 400})})
    assert rgb(got["asis.png"])[60, 10, 1] < 60 < 200 < rgb(got["asis.png"])[60, 190, 1]
    assert got["wide.png"].size == (550, 400)
    assert jobs.post("file:///6.jpg", "file:///x.png", {"width": 550, "height": 400, "orient": False}).json()["code"] == 203


def test_kinds_of_samples(folder, serve):
    """CMYK, 16 bits, palettes, grey, alpha, frames."""
    jobs = Works(serve, folder)
    pixels = ramp()
    part = covered(W, H, 200, 120)
    jobs.store("cmyk.jpg", image(pixels).convert("CMYK"), quality=95)
    jobs.store("grey.png", image(pixels).split()[0])
    np.round(pixels * 257).astype(">u2").tofile(jobs.path("in", "deep.rgb"))
    for name in ("deep.png", "deep.tif"):
        subprocess.run(["convert", "-size", "%dx%d" % (W, H), "-depth", "16", "-endian", "MSB", "rgb:" + jobs.path("in", "deep.rgb"), "-strip",
                        jobs.path("in", name)], check=True)
    four = Image.new("P", (W, H))
    four.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 0])
    four.paste(1, (W // 2, 0, W, H // 2))
    four.paste(2, (0, H // 2, W // 2, H))
    four.paste(3, (W // 2, H // 2, W, H))
    jobs.store("four.png", four)
    jobs.store("clear.png", four, transparency=1)
    jobs.store("four.gif", four, save_all=True, append_images=[Image.new("P", (W, H), 2)])
    edge = Image.new("RGBA", (W, H), (0, 255, 0, 0))  # what cannot be seen is green: it must not come through
    edge.paste((255, 0, 0, 255), (0, 0, W // 2 + 3, H))
    jobs.store("edge.png", edge)
    got = jobs.batch({"cmyk.png": ("cmyk.jpg", {}), "grey.out.png": ("grey.png", {}), "deep1.png": ("deep.png", {}), "deep2.png": ("deep.tif", {}),
                      "four.png": ("four.png", {}), "clear.png": ("clear.png", {}), "four.webp": ("four.gif", {"format": "webp", "quality": 90}),
                      "edge.png": ("edge.png", {}), "edge.jpg": ("edge.png", {"background": "0000ff"}), "edge2.jpg": ("edge.png", {})})
    expect(rgb(got["cmyk.png"]), part, 200, 120, slack=8)
    for name in ("deep1.png", "deep2.png"):
        expect(rgb(got[name]), part, 200, 120)
        assert got[name].mode == "RGB"
    grey = rgb(got["grey.out.png"])
    assert (grey[..., 0] == grey[..., 1]).all() and np.abs(grey[60, 2:-2, 0] - (np.arange(2, 198) + .5) / 200 * 255).max() < 3
    for name in ("four.png", "four.webp"):  # 200 x 167, 15 off the top: the middle is in row 68
        quarters = [tuple(map(int, rgb(got[name])[y, x])) for y in (20, 100) for x in (20, 180)]
        for q, want in zip(quarters, ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0))):
            assert max(abs(a - b) for a, b in zip(q, want)) <= 12, (name, quarters)
    clear = np.asarray(got["clear.png"].convert("RGBA"))
    assert clear[20, 180, 3] == 0 and clear[20, 20].tolist() == [255, 0, 0, 255] and clear[100, 180, 3] == 255
    px = np.asarray(got["edge.png"].convert("RGBA")).astype(int)
    seen = px[..., 3] > 20
    assert (px[seen][:, 1] <= 3).all() and (px[seen][:, 0] >= 252).all() and seen[60, 50] and not seen[60, 150]
    over = rgb(got["edge.jpg"]).astype(int)
    assert np.abs(over[60, 50] - (255, 0, 0)).max() < 8 and np.abs(over[60, 150] - (0, 0, 255)).max() < 8 and over[..., 1].max() < 40
    assert rgb(got["edge2.jpg"])[60, 150].min() > 245


def test_metadata(folder, serve):
    jobs = Works(serve, folder)
    exif = Image.Exif()
    exif[0x8298], exif[0x013b], exif[0x010f] = "(c) A Person", "A Person", "Camera Co"
    exif.get_ifd(0x8825)[1] = "N"
    jobs.store("m.jpg", image(ramp()), exif=exif, quality=90)
    got = jobs.batch({m + ".jpg": ("m.jpg", {"metadata": m}) for m in ("none", "copyright", "all")} | {"default.jpg": ("m.jpg", {})})
    assert not dict(got["none.jpg"].getexif())
    for name in ("copyright.jpg", "default.jpg"):
        kept = dict(got[name].getexif())
        assert kept.pop(0x8298) == "(c) A Person" and kept.pop(0x013b) == "A Person" and not set(kept) & {0x010f, 0x8825}
    assert got["all.jpg"].getexif()[0x010f] == "Camera Co"


def test_formats(folder, serve):
    """By the destination's name, any case; each of them what it says."""
    jobs = Works(serve, folder)
    jobs.store("a.png", image(ramp()))
    names = ["r.jpg", "r.JPEG", "r.png", "r.gif", "r.webp", "r.TIF", "r.tiff", "r.avif"]
    for n in names:
        r = jobs.post("file:///a.png", "file:///" + n)  # the placeholder is of that format too
        if n == "r.avif" and r.json().get("code") == 113:
            continue
        with open(jobs.path("out", n), "rb") as f:
            first = f.read()
        jobs.done(r)
        with open(jobs.path("out", n), "rb") as f:
            data = f.read()
        if n == "r.avif":
            assert b"ftypavif" in first[:32] and b"ftypavif" in data[:32]
            continue
        kind = {"jpeg": "JPEG", "jpg": "JPEG", "tif": "TIFF", "tiff": "TIFF"}.get(n[2:].lower(), n[2:].upper())
        assert Image.open(io.BytesIO(data)).format == Image.open(io.BytesIO(first)).format == kind
        assert size_of(first) == size_of(data) == (200, 120)
        if n != "r.gif":
            expect(rgb(Image.open(io.BytesIO(data))), covered(W, H, 200, 120), 200, 120, slack=16)
    assert os.listdir(jobs.path("spool/tmp")) == []
