#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""JPEG pictures of every kind the reader knows: make(folder). All show the same 301 x 203 picture (odd, so that no block
and no half comes out even) but where the name says otherwise.

baseline 4:2:0, sampling-*, gray, progressive*, arithmetic*, restart, rgb (Adobe transform 0), cmyk and ycck (Adobe, inverted),
cmyk-plain (no Adobe marker: every program reads it as inverted all the same), orient1..8 (EXIF, all upright the same picture; orient*-mm big-endian), icc,
icc-big (profile in several segments), icc-torn (one of them missing), xmp, dpi300, mpo (two pictures, the first counts),
garbage-behind, no-eoi, one-pixel, a column and a row, and cut (half of the baseline file), truncated in the progressive one."""
import io
import os
import struct
import subprocess
import sys

import numpy as np
from PIL import Image, ImageCms, ImageOps

W, H = 301, 203
UNTURN = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
          5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
          8: Image.Transpose.ROTATE_270}
XMP = b'<?xpacket begin=""?><x:xmpmeta xmlns:x="adobe:ns:meta/"/><?xpacket end="r"?>'


def picture(w=W, h=H):
    """Ramps, a wave, a hard edge and a corner mark, so that turned and shifted copies differ."""
    x, y = np.meshgrid(np.linspace(0, 1, w), np.linspace(0, 1, h))
    px = np.stack([30 + 200 * x, 30 + 200 * y, 128 + 90 * np.sin(9 * x + 5 * y)], axis=-1)
    px[h // 2:, w // 2:] = 255 - px[h // 2:, w // 2:]
    px[:h // 8, :w // 8] = (250, 20, 20)
    return Image.fromarray(px.astype(np.uint8))


def jpeg(im, **kw):
    out = io.BytesIO()
    im.save(out, "JPEG", **{"quality": 92, "subsampling": 2, **kw})
    return out.getvalue()


def cjpeg(im, *options):
    ppm = io.BytesIO()
    im.save(ppm, "PPM")
    return subprocess.run(["cjpeg", "-quality", "92", *options], input=ppm.getvalue(), capture_output=True, check=True).stdout


def segment(marker, body):
    return struct.pack(">BBH", 0xff, marker, len(body) + 2) + body


def behind_soi(data, *segments):
    return data[:2] + b"".join(segments) + data[2:]


def segments(data):
    """(marker, start, end) of each segment in front of the first scan."""
    at = 2
    while data[at + 1] != 0xda:
        end = at + 2 + struct.unpack_from(">H", data, at + 2)[0]
        yield data[at + 1], at, end
        at = end


def without(data, wanted):
    """data without the segments that wanted(marker, body) names."""
    out, last = b"", 0
    for marker, start, end in segments(data):
        if wanted(marker, data[start + 4:end]):
            out, last = out + data[last:start], end
    return out + data[last:]


def exif(orientation, order):
    short = struct.pack(order + "HHIHH", 0x112, 3, 1, orientation, 0)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, 1)
    return segment(0xe1, b"Exif\0\0" + head + short + b"\0\0\0\0")


def icc_parts(profile, parts):
    step = -(-len(profile) // parts)
    return [segment(0xe2, b"ICC_PROFILE\0" + bytes([i + 1, parts]) + profile[i * step:(i + 1) * step]) for i in range(parts)]


def inks():
    """The picture's inks, C M Y K of 0..255 (255 = full), with some black everywhere."""
    rgb = np.asarray(picture()).astype(np.float64)
    k = 40 + np.arange(W)[None, :] * 60 / W + np.zeros((H, 1))
    return np.dstack([np.clip(255 - rgb - k[..., None] / 2, 0, 255), k]).astype(np.uint8)


def ycck():
    """As Adobe's programs store inks: the first three as if they were R G B, turned to YCbCr, then 255 - K."""
    ink = inks().astype(np.float64)
    r, g, b = ink[..., 0], ink[..., 1], ink[..., 2]
    y = 0.299 * r + 0.587 * g + 0.114 * b
    ycc = np.dstack([y, (b - y) / 1.772 + 128, (r - y) / 1.402 + 128, 255 - ink[..., 3]])
    # PIL stores 255 - what it is given, under an Adobe marker that says "CMYK": the marker's last byte makes it YCCK
    data = bytearray(jpeg(Image.fromarray((255 - np.clip(np.rint(ycc), 0, 255)).astype(np.uint8), "CMYK"), subsampling=0))
    for marker, start, end in segments(bytes(data)):
        if marker == 0xee:
            data[end - 1] = 2
    return bytes(data)


def files():
    im, base = picture(), jpeg(picture())
    yield "baseline", base
    yield "gray", jpeg(im.convert("L"))
    yield "progressive", jpeg(im, progressive=True)
    yield "progressive-gray", jpeg(im.convert("L"), progressive=True)
    for name in ("1x1", "2x1", "1x2", "2x2", "4x1", "4x2"):
        yield "sampling-" + name, cjpeg(im, "-sample", name)
    yield "rgb", cjpeg(im, "-rgb")
    yield "restart", cjpeg(im, "-restart", "1")
    yield "arithmetic", cjpeg(im, "-arithmetic")
    yield "arithmetic-progressive", cjpeg(im, "-arithmetic", "-progressive")
    cmyk = jpeg(Image.fromarray(inks(), "CMYK"), subsampling=0)
    yield "cmyk", cmyk
    yield "cmyk-plain", without(cmyk, lambda m, b: m == 0xee)
    yield "ycck", ycck()
    for o in range(1, 9):
        turned = jpeg(im.transpose(UNTURN[o]) if o > 1 else im, subsampling=0)
        yield "orient%d" % o, behind_soi(turned, exif(o, "<"))
        yield "orient%d-mm" % o, behind_soi(turned, exif(o, ">"))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    big = profile + bytes(i * i // 7 & 255 for i in range(140000))
    yield "icc", behind_soi(base, *icc_parts(profile, 1))
    yield "icc-big", behind_soi(base, *icc_parts(big, 3))
    yield "icc-torn", behind_soi(base, *icc_parts(big, 3)[:2])
    yield "xmp", behind_soi(base, segment(0xe1, b"http://ns.adobe.com/xap/1.0/\0" + XMP))
    yield "dpi300", jpeg(im, dpi=(300, 300))
    other = jpeg(ImageOps.mirror(im))
    yield "mpo", base + other
    yield "garbage-behind", base + b"\xff\xda\0garbage" * 50
    yield "no-eoi", base[:-2]
    yield "one-pixel", jpeg(picture(16, 16).crop((0, 0, 1, 1)))
    yield "column", jpeg(im.crop((7, 0, 8, H)))
    yield "row", jpeg(im.crop((0, 7, W, 8)))
    yield "cut", base[:len(base) // 2]
    half = jpeg(im, progressive=True)
    yield "cut-progressive", half[:len(half) // 2]


def make(outdir):
    os.makedirs(outdir, exist_ok=True)
    for name, data in files():
        with open(os.path.join(outdir, name + ".jpg"), "wb") as f:
            f.write(data)
    for o in range(1, 9):  # the tag means what PIL takes it to mean, and turns the picture upright
        with Image.open(os.path.join(outdir, "orient%d.jpg" % o)) as im:
            up = np.asarray(ImageOps.exif_transpose(im)).astype(int)
        assert up.shape == (H, W, 3) and abs(up - np.asarray(picture()).astype(int)).mean() < 4, o
    for name in ("cmyk", "cmyk-plain", "ycck"):  # and PIL sees the inks that went in
        with Image.open(os.path.join(outdir, name + ".jpg")) as im:
            assert abs(np.asarray(im).astype(int) - inks()).mean() < 3, name


if __name__ == "__main__":
    make(sys.argv[1] if len(sys.argv) > 1 else "build/data/jpeg")
