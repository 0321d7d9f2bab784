#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""JPEG 2000 pictures of every kind the reader knows: make(folder). Code-streams come from opj_compress (package
libopenjp2-tools), those of HT code-blocks from grk_compress (grokj2k-tools); the boxes around them are written here. All show
the same 301 x 203 picture but where the name says otherwise, and all but lossy* keep it to the bit: files() gives each
with the pixels a reader must see, None where that needs a colour conversion of its own.

rgb, gray, lossy, tiled, offset, layers, precincts, parts (tile-parts by resolution), bare (.j2k), ht*, (.jph), gray12, gray16,
signed16, gray2, palette, alpha, premultiplied, bgr, cmyk, sycc, sycc420, lab, icc, xmp, dpi300, jpx, cut."""
import os
import shutil
import struct
import subprocess
import sys
import tempfile

import numpy as np
from PIL import ImageCms

W, H = 301, 203
XMP = b'<?xpacket begin=""?><x:xmpmeta xmlns:x="adobe:ns:meta/"/><?xpacket end="r"?>'
XMP_ID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")


def picture(w=W, h=H):
    """Ramps, a wave, a hard edge and a corner mark, so that turned and shifted copies differ."""
    x, y = np.meshgrid(np.linspace(0, 1, w), np.linspace(0, 1, h))
    px = np.stack([30 + 200 * x, 30 + 200 * y, 128 + 90 * np.sin(9 * x + 5 * y)], axis=-1)
    px[h // 2:, w // 2:] = 255 - px[h // 2:, w // 2:]
    px[:h // 8, :w // 8] = (250, 20, 20)
    return px.astype(np.uint8)


def box(name, data):
    return struct.pack(">I", len(data) + 8) + name + data


def colr(space):
    return box(b"colr", struct.pack(">BBBI", 1, 0, 0, space))


def profile(data):
    return box(b"colr", bytes([2, 0, 0]) + data)


def cdef(*rows):
    return box(b"cdef", struct.pack(">H", len(rows)) + b"".join(struct.pack(">HHH", *r) for r in rows))


def ihdr(stream):
    """What the code-stream says of itself in its first segment (SIZ)."""
    x1, y1, x0, y0 = struct.unpack(">4I", stream[8:24])
    comps, = struct.unpack(">H", stream[40:42])
    depths = set(stream[42:42 + 3 * comps:3])
    return box(b"ihdr", struct.pack(">IIHBBBB", y1 - y0, x1 - x0, comps, depths.pop() if len(depths) == 1 else 255, 7, 0, 0))


def jp2(stream, header, behind=b"", brand=b"jp2 ", front=b""):
    return (box(b"jP  ", b"\r\n\x87\n") + box(b"ftyp", brand + b"\0\0\0\0" + brand) + box(b"jp2h", ihdr(stream) + header) + front
            + box(b"jp2c", stream) + behind)


def stream(planes, *options, bits=8, signed=False, sub="1x1", tool="opj_compress"):
    """A bare code-stream of 2D arrays, lossless unless the options say otherwise."""
    with tempfile.TemporaryDirectory() as tmp:
        raw, out = os.path.join(tmp, "a.raw"), os.path.join(tmp, "a.j2k")
        kind = "%s%d" % (">i" if signed else ">u", 1 if bits <= 8 else 2)  # .raw is big-endian
        with open(raw, "wb") as f:
            for p in planes:
                f.write(p.astype(kind).tobytes())
        h, w = planes[0].shape
        form = "%d,%d,%d,%d,%s" % (w, h, len(planes), bits, "s" if signed else "u")
        if sub != "1x1":
            form += "@" + ":".join(["1x1"] + [sub] * (len(planes) - 1))
        subprocess.run([tool, "-i", raw, "-o", out, "-F", form, *options], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        with open(out, "rb") as f:
            return f.read()


def ht(px, *options):
    with tempfile.TemporaryDirectory() as tmp:
        ppm, out = os.path.join(tmp, "a.ppm" if px.shape[2] == 3 else "a.pgm"), os.path.join(tmp, "a.j2k")
        with open(ppm, "wb") as f:
            deep = px.dtype == np.uint16
            f.write(b"P%d\n%d %d\n%d\n" % (6 if px.shape[2] == 3 else 5, px.shape[1], px.shape[0], 65535 if deep else 255)
                    + px.astype(">u2" if deep else "u1").tobytes())
        subprocess.run(["grk_compress", "-i", ppm, "-o", out, "-M", "64", *options], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with open(out, "rb") as f:
            return f.read()


def planes_of(px):
    return [px[..., i] for i in range(px.shape[-1])]


def files():
    """(name with ending, bytes, pixels or None)"""
    px = picture()
    rgb, gray = planes_of(px), px[..., 1]
    srgb = colr(16)
    plain = stream(rgb)
    yield "rgb.jp2", jp2(plain, srgb), px
    yield "gray.jp2", jp2(stream([gray]), colr(17)), gray
    yield "lossy.jp2", jp2(stream(rgb, "-I", "-r", "8"), srgb), None
    yield "tiled.jp2", jp2(stream(rgb, "-t", "128,128"), srgb), px
    yield "lossy-tiled.jp2", jp2(stream(rgb, "-I", "-r", "8", "-t", "128,128", "-n", "4"), srgb), None
    yield "offset.jp2", jp2(stream(rgb, "-d", "37,51", "-T", "5,9", "-t", "100,90", "-n", "4"), srgb), px
    yield "layers.jp2", jp2(stream(rgb, "-r", "20,5,1"), srgb), px
    yield "precincts.jp2", jp2(stream(rgb, "-p", "RPCL", "-c", "[64,64]", "-PLT", "-TLM"), srgb), px
    yield "parts.jp2", jp2(stream(rgb, "-p", "RLCP", "-TP", "R", "-SOP", "-EPH"), srgb), px
    yield "bare.j2k", plain, px
    deep = (gray.astype(np.uint16) * 16 + (gray >> 4))
    yield "gray12.jp2", jp2(stream([deep], bits=12), colr(17)), deep
    deep = gray.astype(np.uint16) * 257
    yield "gray16.jp2", jp2(stream([deep], bits=16), colr(17)), deep
    signed = (gray.astype(np.int32) * 257 - 32768).astype(np.int16)
    yield "signed16.jp2", jp2(stream([signed], bits=16, signed=True), colr(17)), signed
    yield "gray2.jp2", jp2(stream([gray >> 6], bits=2), colr(17)), (gray >> 6) * 85
    index = (gray // 16).astype(np.uint8)
    table = np.array([[(i * 37 + 11) & 255, (i * 91) & 255, 255 - i * 16] for i in range(16)], np.uint8)
    pclr = box(b"pclr", struct.pack(">HB", 16, 3) + bytes([7, 7, 7]) + table.tobytes())
    cmap = box(b"cmap", b"".join(struct.pack(">HBB", 0, 1, i) for i in range(3)))
    yield "palette.jp2", jp2(stream([index], bits=4), srgb + pclr + cmap), table[index]
    alpha = np.tile((np.arange(W) * 255 // (W - 1)).astype(np.uint8), (H, 1))
    yield "alpha.jp2", jp2(stream(rgb + [alpha]), srgb + cdef((0, 0, 1), (1, 0, 2), (2, 0, 3), (3, 1, 0))), \
        np.dstack([px, alpha])
    multiplied = [(p.astype(np.uint32) * alpha // 255).astype(np.uint8) for p in rgb]
    wide = np.maximum(alpha.astype(np.float64), 1)
    straight = [np.where(alpha > 0, np.minimum(255, np.floor(m * 255. / wide + .5)), 0).astype(np.uint8) for m in multiplied]
    yield "premultiplied.jp2", jp2(stream(multiplied + [alpha]), srgb + cdef((0, 0, 1), (1, 0, 2), (2, 0, 3), (3, 2, 0))), \
        np.dstack(straight + [alpha])
    yield "bgr.jp2", jp2(stream(rgb[::-1]), srgb + cdef((0, 0, 3), (1, 0, 2), (2, 0, 1))), px
    yield "cmyk.jp2", jp2(stream([255 - p for p in rgb] + [gray // 4]), colr(12), brand=b"jpx "), None
    r, g, b = (p.astype(np.float64) for p in rgb)
    y = .299 * r + .587 * g + .114 * b
    ycc = [np.clip(np.round(v), 0, 255).astype(np.uint8) for v in (y, 128 + (b - y) / 1.772, 128 + (r - y) / 1.402)]
    yield "sycc.jp2", jp2(stream(ycc), colr(18)), None
    even = [ycc[0][:202, :300], ycc[1][:202:2, :300:2], ycc[2][:202:2, :300:2]]
    yield "sycc420.jp2", jp2(stream(even, sub="2x2"), colr(18)), None
    yield "lab.jp2", jp2(stream([gray, np.full((H, W), 140, np.uint8), np.full((H, W), 90, np.uint8)]), colr(14),
                         brand=b"jpx "), None
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    yield "icc.jp2", jp2(plain, profile(icc)), px
    yield "xmp.jp2", jp2(plain, srgb, behind=box(b"uuid", XMP_ID + XMP)), px
    dpi = struct.pack(">HHHHBB", 30000, 254, 30000, 254, 2, 2)  # 300 dots an inch, by the metre
    yield "dpi300.jp2", jp2(plain, srgb + box(b"res ", box(b"resc", dpi))), px
    layer = box(b"jplh", box(b"cgrp", srgb))
    yield "jpx.jpx", jp2(plain, colr(17), brand=b"jpx ", front=layer), px
    yield "cut.jp2", jp2(plain, srgb)[:len(plain) // 2], None
    if shutil.which("grk_compress"):
        yield "ht.jph", jp2(ht(px), srgb, brand=b"jph "), px
        yield "ht-tiled.jph", jp2(ht(px, "-t", "128,128"), srgb, brand=b"jph "), px
        yield "lossy-ht.jph", jp2(ht(px, "-I"), srgb, brand=b"jph "), None


def make(outdir):
    os.makedirs(outdir, exist_ok=True)
    for name, data, pixels in files():
        with open(os.path.join(outdir, name), "wb") as f:
            f.write(data)
        if pixels is not None:
            np.save(os.path.join(outdir, name + ".npy"), pixels)


if __name__ == "__main__":
    make(sys.argv[1] if len(sys.argv) > 1 else "build/data/jp2")
