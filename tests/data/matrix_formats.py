# SPDX-License-Identifier: Apache-2.0
"""The rows of the matrix beside TIFF: a format is one line of FORMATS and a function that yields its pictures as (space, depth,
layout, samples as stored, bytes). What is kept exactly comes with the samples that went in, what is not with another
program's decode of the bytes. A format whose programs are not installed is left out."""
import io
import os
import shutil
import struct
import subprocess
import tempfile
import zlib

import numpy as np
from PIL import Image

import make_jp2
import make_jpeg
from make_heif import clap, imir, irot, rebuild
from make_tiff import pack, photo

H, W = 43, 61
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def noise(bits, n, seed, kind=None):
    """Anything at all, with both ends of the range."""
    px = np.random.RandomState(seed).randint(0, 1 << bits, (H, W, n)).astype(kind or (np.uint16 if bits > 8 else np.uint8))
    px[0, 0], px[0, 1] = 0, (1 << bits) - 1
    return px


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def through(px, suffix, command):
    """What a program makes of a picture: command(path of a PNG, path it writes)."""
    with tempfile.TemporaryDirectory() as tmp:
        png, out = os.path.join(tmp, "a.png"), os.path.join(tmp, "a." + suffix)
        Image.fromarray(px).save(png)
        run(*command(png, out))
        with open(out, "rb") as f:
            return f.read()


def decoded(data, suffix, command):
    """The picture in bytes by a program: command(their path, path of the PNG it writes)."""
    with tempfile.TemporaryDirectory() as tmp:
        src, png = os.path.join(tmp, "a." + suffix), os.path.join(tmp, "a.png")
        with open(src, "wb") as f:
            f.write(data)
        run(*command(src, png))
        return np.atleast_3d(np.asarray(Image.open(png)))


# --- PNG ------------------------------------------------------------------------------------------------------------

def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_rows(px, bits):
    """Filtered rows: as they are, differences to the left, to the row above, in turn."""
    h, w, n = px.shape
    raw = px.astype(">u2").view(np.uint8).reshape(h, -1) if bits == 16 else pack(px.reshape(h, -1), bits) if bits < 8 else px.reshape(h, -1)
    by, out = max(1, n * bits // 8), b""
    for y in range(h):
        left = np.concatenate([np.zeros(by, np.uint8), raw[y, :-by]])[:raw.shape[1]]
        up = raw[y - 1] if y else np.zeros_like(raw[0])
        out += bytes([y % 3]) + (raw[y] - (0, left, up)[y % 3]).astype(np.uint8).tobytes()
    return out


def png(px, bits, kind, interlaced=False, *chunks):
    passes = ADAM7 if interlaced else [(0, 0, 1, 1)]
    parts = [px[y::dy, x::dx] for x, y, dx, dy in passes]
    data = b"".join(png_rows(p, bits) for p in parts if p.size)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", W, H, bits, kind, 0, 0, interlaced)) + b"".join(chunks)
            + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b""))


def png_cases():
    for interlaced, layout in ((False, "plain"), (True, "interlaced")):
        for space, kind, n, depths in (("black0", 0, 1, (1, 2, 4, 8, 16)), ("rgb", 2, 3, (8, 16)), ("grey+alpha", 4, 2, (8, 16)),
                                       ("rgb+alpha", 6, 4, (8, 16))):
            for bits in depths:
                px = noise(bits, n, kind * 100 + bits)
                yield space, "u%d" % bits, layout, px, png(px, bits, kind, interlaced)
        for bits in (1, 2, 4, 8):
            index, rng = noise(bits, 1, 40 + bits), np.random.RandomState(bits)
            table, clear = rng.randint(0, 256, (1 << bits, 3)).astype(np.uint8), rng.randint(0, 256, 1 << bits).astype(np.uint8)
            plte, trns = chunk(b"PLTE", table.tobytes()), chunk(b"tRNS", clear.tobytes())
            yield "rgb", "u8", "palette%d-%s" % (bits, layout), table[index[..., 0]], png(index, bits, 3, interlaced, plte)
            yield ("rgb+alpha", "u8", "palette%d-%s" % (bits, layout), np.hstack([table, clear[:, None]])[index[..., 0]],
                   png(index, bits, 3, interlaced, plte, trns))
    for bits in (8, 16):  # one colour is clear
        px = noise(bits, 3, 60 + bits)
        px[5:9, 3:30] = px[7, 7]
        key = (px == px[7, 7]).all(-1)
        alpha = np.where(key, 0, (1 << bits) - 1).astype(px.dtype)
        yield "rgb+alpha", "u%d" % bits, "key", np.dstack([px, alpha]), png(px, bits, 2, False, chunk(b"tRNS", struct.pack(">3H", *px[7, 7])))


# --- JPEG -----------------------------------------------------------------------------------------------------------

def jpeg_cases():
    spaces = {"L": "black0", "RGB": "rgb", "CMYK": "cmyk"}
    for name, data in make_jpeg.files():
        if name.startswith(("baseline", "gray", "progressive", "sampling", "rgb", "restart", "arithmetic", "cmyk", "ycck", "one-pixel",
                            "column", "row")):
            im = Image.open(io.BytesIO(data))
            yield spaces[im.mode], "u8", name, np.atleast_3d(np.asarray(im)), data


# --- WebP -----------------------------------------------------------------------------------------------------------

def webp_cases():
    for space, n in (("rgb", 3), ("rgb+alpha", 4)):
        px = noise(8, n, 70 + n)
        for layout, options in (("lossless", {"lossless": True, "exact": True}), ("lossy", {"quality": 70}), ("least", {"quality": 1})):
            out = io.BytesIO()
            Image.fromarray(px if layout == "lossless" else np.dstack([photo(W, H), px[..., 3:]])).save(out, "webp", **options)
            dwebp = px if layout == "lossless" else decoded(out.getvalue(), "webp", lambda a, b: ("dwebp", a, "-o", b))
            yield space, "u8", layout, dwebp, out.getvalue()


# --- JPEG 2000 ------------------------------------------------------------------------------------------------------

def jp2_cases():
    def some(*words):  # opj_compress takes no raw files whose width, height, components and depth have a common bit
        return noise(*words)[:, :60]

    def stream(px, bits, *options, **kw):
        return make_jp2.stream(make_jp2.planes_of(px), "-n", "3", *options, bits=bits, **kw)

    grey, rgb, seed = make_jp2.colr(17), make_jp2.colr(16), 80
    for bits in range(1, 17):
        for space, n, colour in (("black0", 1, grey), ("rgb", 3, rgb)):
            px = some(bits, n, seed + bits)
            yield space, "u%d" % bits, "whole", px, make_jp2.jp2(stream(px, bits), colour)
            if bits in (1, 8, 12, 16):
                yield space, "u%d" % bits, "tiles", px, make_jp2.jp2(stream(px, bits, "-t", "32,16"), colour)
            if bits in (8, 12, 16):  # of noise of one bit there is no room for packets in opj_compress
                yield space, "u%d" % bits, "precincts", px, make_jp2.jp2(stream(px, bits, "-p", "RPCL", "-c", "[32,32],[16,16]"), colour)
    px = some(8, 3, seed + 17)
    yield "rgb", "u8", "offset", px, make_jp2.jp2(stream(px, 8, "-d", "37,51", "-T", "5,9", "-t", "40,50"), rgb)
    yield "rgb", "u8", "layers", px, make_jp2.jp2(stream(px, 8, "-r", "20,5,1"), rgb)
    for bits in (2, 8, 12, 16):
        code = some(bits, 1, seed + 20 + bits)
        number = (code.astype(np.int32) ^ 1 << bits - 1) - (1 << bits - 1)
        yield "black0", "s%d" % bits, "whole", code, make_jp2.jp2(stream(number, bits, signed=True), grey)
    for bits in (8, 16):
        px = some(bits, 4, seed + 40 + bits)
        cdef = make_jp2.cdef((0, 0, 1), (1, 0, 2), (2, 0, 3), (3, 1, 0))
        yield "rgb+alpha", "u%d" % bits, "whole", px, make_jp2.jp2(stream(px, bits), rgb + cdef)
        px = px[..., :2].copy()
        yield "grey+alpha", "u%d" % bits, "whole", px, make_jp2.jp2(stream(px, bits), grey + make_jp2.cdef((0, 0, 1), (1, 1, 0)))
    px = some(8, 4, seed + 60)
    yield "cmyk", "u8", "whole", px, make_jp2.jp2(stream(px, 8), make_jp2.colr(12), brand=b"jpx ")
    px = some(8, 3, seed + 61)
    yield "ycc", "u8", "whole", px, make_jp2.jp2(stream(px, 8, "-mct", "0"), make_jp2.colr(18))
    for bits in (1, 4, 8):
        index, table = some(bits, 1, seed + 70 + bits), np.random.RandomState(bits).randint(0, 256, (1 << bits, 3)).astype(np.uint8)
        pclr = make_jp2.box(b"pclr", struct.pack(">HB", 1 << bits, 3) + b"\7\7\7" + table.tobytes())
        cmap = make_jp2.box(b"cmap", b"".join(struct.pack(">HBB", 0, 1, i) for i in range(3)))
        yield "rgb", "u8", "palette%d" % bits, table[index[..., 0]], make_jp2.jp2(stream(index, bits), rgb + pclr + cmap)
    if shutil.which("grk_compress"):
        for space, n, colour in (("black0", 1, grey), ("rgb", 3, rgb)):
            for bits in (8, 16):
                px = noise(bits, n, seed + 80 + bits)
                for layout, options in (("ht", ()), ("ht_tiles", ("-t", "32,16")), ("ht_precincts", ("-p", "RPCL", "-c", "[32,32]"))):
                    yield space, "u%d" % bits, layout, px, make_jp2.jp2(make_jp2.ht(px, "-n", "3", *options), colour, brand=b"jph ")


# --- those with a program of their own ------------------------------------------------------------------------------

def gif_cases():
    for bits in (1, 2, 4, 8):
        index, table = noise(bits, 1, 170 + bits)[..., 0], np.random.RandomState(bits).randint(0, 256, (1 << bits, 3)).astype(np.uint8)
        for interlaced in (0, 1):
            im, out = Image.fromarray(index, "P"), io.BytesIO()
            im.putpalette(table.tobytes())
            im.save(out, "gif", interlace=interlaced, optimize=False)
            yield "rgb", "u8", "palette%d%s" % (bits, "-interlaced" * interlaced), table[index], out.getvalue()


def by_program(encode, decode, suffix):
    """Lossless and lossy by a format's own pair of programs."""
    def cases():
        for space, px in (("rgb", photo(W, H)), ("rgb+alpha", np.dstack([photo(W, H), noise(8, 1, 180)]))):
            for layout, options in encode.items():
                data = through(px, suffix, lambda a, b: [{"IN": a, "OUT": b}.get(o, o) for o in options])
                yield space, "u8", layout, px if layout == "lossless" else decoded(data, suffix, decode), data
    return cases


def avif_shapes(decode):
    """Depths, samplings, ranges; grids; alpha, multiplied or not. avifdec turns and crops nothing: those are of its plain picture."""
    px = photo(192, 128)
    rgba = np.dstack([px, np.tile(np.linspace(0, 255, 192).astype(np.uint8), (128, 1))])
    alike = "--min", "0", "--max", "4", "-s", "8"

    def made(picture, *options):
        return through(picture, "avif", lambda a, b: ("avifenc", *alike, *options, a, b))

    for layout, options in (("10_bits", ("-d", "10")), ("12_bits", ("-d", "12", "-y", "444")), ("422", ("-y", "422")), ("limited", ("-r", "limited")),
                            ("identity", ("--cicp", "1/13/0", "-y", "444")), ("grid", ("-g", "3x2"))):
        for space, picture in (("rgb", px), ("rgb+alpha", rgba)):
            data = made(picture, *options)
            yield space, "u8", layout, decoded(data, "avif", decode), data
    plain = decoded(made(px), "avif", decode)
    for layout, options, want in (("turned", ("--irot", "1"), np.rot90(plain)), ("flipped", ("--imir", "0"), plain[::-1]),
                                  ("mirrored", ("--imir", "1"), plain[:, ::-1]), ("cropped", ("--crop", "20,30,60,40"), plain[30:70, 20:80]),
                                  ("all", ("--crop", "20,30,60,40", "--irot", "3", "--imir", "1"), np.rot90(plain[30:70, 20:80], 3)[:, ::-1])):
        yield "rgb", "u8", layout, want, made(px, *options)
    data = made(rgba, "-p")  # under full alpha the colours are what they were
    want = decoded(data, "avif", decode)
    assert np.abs(want[:, 96:].astype(int) - rgba[:, 96:]).max() < 16
    yield "rgb+alpha", "u8", "multiplied", want, data


def heic_shapes():
    """As phones write them: tiles under a grid, some of which hang over; boxes that crop, turn and mirror, in this order; alpha."""
    px = photo(192, 128)
    options = "heif-enc", "-L", "-p", "chroma=444", "--matrix_coefficients=0"

    def made(picture):
        return through(picture, "heic", lambda a, b: (*options, a, "-o", b))

    tiles = [made(px[y:y + 64, x:x + 64]) for y in (0, 64) for x in (0, 64, 128)]
    cut, one = px[:101, :180], px[:64, :64]
    crop, turn = clap(30, 20, 64, 64, 8, 6), irot(1)
    for layout, want, data in (("grid", px, rebuild(tiles, 3)), ("grid_cut", cut, rebuild(tiles, 3, (180, 101))),
                               ("grid_turned", np.rot90(cut, 3), rebuild(tiles, 3, (180, 101), [irot(3)])),
                               ("grid_mirrored", cut[:, ::-1], rebuild(tiles, 3, (180, 101), [imir(1)])),
                               ("grid_cropped", cut[30:70, 20:80], rebuild(tiles, 3, (180, 101), [clap(60, 40, 180, 101, 20, 30)])),
                               ("flipped", one[::-1], rebuild(tiles[:1], 1, None, [imir(0)])),
                               ("all", np.rot90(one[6:26, 8:38])[:, ::-1], rebuild(tiles[:1], 1, None, [crop, turn, imir(1)]))):
        yield "rgb", "u8", layout, want, data
    yield "rgb+alpha", "u8", "made", np.dstack([one, px[:64, 64:128, 1]]), rebuild(tiles[:1], 1, alpha=made(px[:64, 64:128, 1]))


def jxl_deep():
    """16 bits, grey and colour, without loss: in any order of passes, and of squeezed channels."""
    for space, n in (("black0", 1), ("rgb", 3)):
        px = noise(16, n, 190 + n)
        with tempfile.TemporaryDirectory() as tmp:
            pnm, out = os.path.join(tmp, "a.ppm" if n == 3 else "a.pgm"), os.path.join(tmp, "a.jxl")
            with open(pnm, "wb") as f:
                f.write(b"P%d\n%d %d\n65535\n" % (6 if n == 3 else 5, W, H) + px.astype(">u2").tobytes())
            for layout, options in (("lossless", ()), ("lossless_squeezed", ("-R", "1"))):
                run("cjxl", "-d", "0", *options, pnm, out)
                with open(out, "rb") as f:
                    yield space, "u16", layout, px, f.read()


def all_of(*cases):
    return lambda: (row for case in cases for row in case())


def by_avifdec(path, png):
    return "avifdec", path, png


AVIF = {"lossless": ("avifenc", "-l", "-s", "8", "IN", "OUT"), "lossy": ("avifenc", "--min", "10", "--max", "30", "-s", "8", "IN", "OUT"),
        "444": ("avifenc", "-y", "444", "--min", "5", "--max", "20", "-s", "8", "IN", "OUT")}
HEIC = {"lossy": ("heif-enc", "-q", "80", "IN", "-o", "OUT"), "444": ("heif-enc", "-q", "80", "-p", "chroma=444", "IN", "-o", "OUT")}
JXL = {"lossless": ("cjxl", "-d", "0", "IN", "OUT"), "lossy": ("cjxl", "-d", "1", "IN", "OUT")}

# ending, programs, cases, levels that an answer may differ from the decode of a lossy file: their ways to RGB differ
FORMATS = [
    ("png", (), png_cases, 0),
    ("jpg", ("cjpeg",), jpeg_cases, 0),
    ("webp", ("dwebp",), webp_cases, 0),
    ("jp2", ("opj_compress",), jp2_cases, 0),
    ("gif", (), gif_cases, 0),
    ("avif", ("avifenc", "avifdec"), all_of(by_program(AVIF, by_avifdec, "avif"), lambda: avif_shapes(by_avifdec)), 2),
    ("heic", ("heif-enc", "heif-convert"), all_of(by_program(HEIC, lambda a, b: ("heif-convert", a, b), "heic"), heic_shapes), 2),
    ("jxl", ("cjxl", "djxl"), all_of(by_program(JXL, lambda a, b: ("djxl", a, b), "jxl"), jxl_deep), 2),
]
LOSSY = {ending: most for ending, _, _, most in FORMATS}


def make(put):
    """put(name, layout, ending, samples, bytes)"""
    for ending, programs, cases, _ in FORMATS:
        if all(map(shutil.which, programs)):
            for i, (space, depth, layout, px, data) in enumerate(cases()):
                put("%s.%d.%s-%s" % (ending, i, space, depth), layout.replace("-", "_"), ending, px, data)
