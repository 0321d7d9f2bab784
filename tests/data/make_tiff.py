#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""TIFF pictures of every kind the decoder reads: make(folder) writes NAME.tif and expected.npz (NAME -> the pixels a
decoder must give, where the file keeps them exactly). Layouts come from the small writer here, so that nothing but the
TIFF specification stands between the pixels and the bytes; compressions come from tiffcp and vips."""
import os
import struct
import subprocess
import sys
import tempfile
import zlib

import numpy as np
from PIL import Image

W, H = 301, 219

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 11: 4, 12: 8, 13: 4, 16: 8, 18: 8}
CODES = {1: "B", 2: "B", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 11: "f", 12: "d", 13: "I", 16: "Q", 18: "Q"}
UNCOMPRESSED, DEFLATE = 1, 8
WHITE0, BLACK0, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6


def photo(w=W, h=H):
    """Slow ramps and waves, as photographs mostly are, with some edges and a dark corner."""
    y, x = np.mgrid[0:h, 0:w].astype(np.float64)
    r = 40 + 180 * x / w + 20 * np.sin(y / 9)
    g = 30 + 190 * y / h + 15 * np.cos(x / 7)
    b = 128 + 90 * np.sin(x / 31 + y / 17)
    px = np.stack([r, g, b], -1)
    px[h // 4:h // 2, w // 3:w // 2] = (250, 20, 60)
    px[-30:, :40] *= 0.1
    return np.clip(px + 0.5, 0, 255).astype(np.uint8)


def gray(px):
    return (px.astype(np.uint32) @ np.array([19595, 38470, 7471]) >> 16).astype(np.uint8)


def half(px):
    """Means of 2 x 2, an odd last row or column is dropped."""
    h, w = px.shape[0] // 2 * 2, px.shape[1] // 2 * 2
    q = px[:h, :w].astype(np.uint32)
    return ((q[::2, ::2] + q[1::2, ::2] + q[::2, 1::2] + q[1::2, 1::2] + 2) // 4).astype(px.dtype)


def pack(rows, bits):
    """Samples (rows x samples) to packed rows of any number of bits, the highest first."""
    each = rows.astype(np.uint32)[..., None] >> np.arange(bits - 1, -1, -1, dtype=np.uint32) & 1
    return np.packbits(each.astype(np.uint8).reshape(rows.shape[0], -1), axis=1)


class Dir:
    """One directory. px: rows x columns (x samples). tile: (w, h) or None; rows: RowsPerStrip. bits, kind: where they are not
    those of px, which holds them in its low bits."""

    def __init__(self, px, photometric, tile=None, rows=64, bits=None, compression=UNCOMPRESSED, planar=False, tags=(),
                 sub=(), empty=(), fill=1, kind=None):
        if px.ndim == 2:
            px = px[..., None]
        self.px, self.tile, self.rows, self.planar = px, tile, min(rows, px.shape[0]), planar
        self.compression, self.sub, self.empty, self.fill = compression, sub, set(empty), fill
        self.bits = bits or px.dtype.itemsize * 8
        kind = kind or {"u": 1, "i": 2, "f": 3}[px.dtype.kind]
        h, w, n = px.shape
        t = {256: (4, [w]), 257: (4, [h]), 258: (3, [self.bits] * n), 259: (3, [compression]), 262: (3, [photometric]),
             277: (3, [n]), 284: (3, [2 if planar else 1]), 339: (3, [kind] * n)}
        if fill != 1:
            t[266] = (3, [fill])
        if tile:
            t[322], t[323] = (4, [tile[0]]), (4, [tile[1]])
        else:
            t[278] = (4, [self.rows])
        t.update(dict(tags))
        self.tags = t

    def stored(self, b, order):
        if self.bits == 24:  # bytes in the order of the file, as 16 and 32
            four = np.ascontiguousarray(b.astype(order + "u4")).view(np.uint8).reshape(b.shape[0], -1, 4)
            return (four[..., :3] if order == "<" else four[..., 1:]).tobytes()
        if self.bits != b.dtype.itemsize * 8:
            return pack(b, self.bits).tobytes()
        return b.astype(b.dtype.newbyteorder(order)).tobytes()

    def blocks(self, order):
        h, w, n = self.px.shape
        bw, bh = self.tile or (w, self.rows)
        planes = [self.px[..., i:i + 1] for i in range(n)] if self.planar else [self.px]
        for p in planes:
            for y in range(0, h, bh):
                for x in range(0, w, bw):
                    b = p[y:y + bh, x:x + bw]
                    if self.tile:
                        b = np.pad(b, ((0, bh - b.shape[0]), (0, bw - b.shape[1]), (0, 0)), mode="edge")
                    b = b.reshape(b.shape[0], -1)
                    raw = self.stored(b, order)
                    if self.compression == DEFLATE:
                        raw = zlib.compress(raw, 6)
                    if self.fill == 2:
                        raw = np.packbits(np.unpackbits(np.frombuffer(raw, np.uint8), bitorder="little")).tobytes()
                    yield raw


def write(path, dirs, big=False, order="<", offsets=None):
    """dirs: the chain; those in a Dir's sub become its SubIFDs. offsets: TIFF type of the arrays of places."""
    out = bytearray(b"\0" * 16 if big else b"\0" * 8)
    word = "Q" if big else "I"

    def put(data):
        out.extend(b"\0" * (-len(out) % 8))
        at = len(out)
        out.extend(data)
        return at

    def values(kind, v):
        if kind in (5,):
            return b"".join(struct.pack(order + "II", *q) for q in v)
        return struct.pack(order + str(len(v)) + CODES[kind], *v)

    def one(d):
        tags = dict(d.tags)
        places, counts = [], []
        for i, raw in enumerate(d.blocks(order)):
            if i in d.empty:
                places.append(0), counts.append(0)
            else:
                places.append(put(raw)), counts.append(len(raw))
        kind = offsets or (16 if big else 4)
        tags[324 if d.tile else 273], tags[325 if d.tile else 279] = (kind, places), (kind, counts)
        if d.sub:
            tags[330] = (18 if big else 13, [one(s)[0] for s in d.sub])
        entries = b""
        for tag, (kind, v) in sorted(tags.items()):
            data = values(kind, v)
            room = 8 if big else 4
            data = data.ljust(room, b"\0") if len(data) <= room else struct.pack(order + word, put(data))
            entries += struct.pack(order + "HH" + word, tag, kind, len(v)) + data
        at = put(struct.pack(order + ("Q" if big else "H"), len(tags)) + entries + struct.pack(order + word, 0))
        return at, len(out) - (8 if big else 4)

    chain = [one(d) for d in dirs]
    for (_, link), (at, _) in zip(chain, chain[1:]):
        struct.pack_into(order + word, out, link, at)
    mark = b"II" if order == "<" else b"MM"
    if big:
        out[:16] = mark + struct.pack(order + "HHHQ", 43, 8, 0, chain[0][0])
    else:
        out[:8] = mark + struct.pack(order + "HI", 42, chain[0][0])
    with open(path, "wb") as f:
        f.write(out)


def layouts(put):
    px = photo()
    g = gray(px)
    alpha = np.clip(np.mgrid[0:H, 0:W][1] * 255 // W, 1, 255).astype(np.uint8)
    rgba = np.dstack([px, alpha])
    small, smaller = half(px), half(half(px))
    tiled = dict(tile=(64, 64))
    for big in (0, 1):
        for order in "<>":
            for comp in (UNCOMPRESSED, DEFLATE):
                name = f"{'big' if big else 'classic'}_{'le' if order == '<' else 'be'}_{'none' if comp == 1 else 'deflate'}"
                put(f"rgb_tiles_{name}", px, [Dir(px, RGB, compression=comp, **tiled)], big, order)
                put(f"rgb_strips_{name}", px, [Dir(px, RGB, compression=comp)], big, order)
                put(f"gray16_strips_{name}", g.astype(np.uint16) * 257, [Dir(g.astype(np.uint16) * 257, BLACK0, compression=comp)], big, order)
    put("gray_tiles", g, [Dir(g, BLACK0, **tiled)])
    put("gray_white0", g, [Dir(255 - g, WHITE0, **tiled)])
    put("gray_alpha", np.dstack([g, alpha]), [Dir(np.dstack([g, alpha]), BLACK0, tags={338: (3, [2])}, **tiled)])
    put("rgba", rgba, [Dir(rgba, RGB, tags={338: (3, [2])}, **tiled)])
    pre = (rgba[..., :3].astype(np.float64) * alpha[..., None] / 255 + 0.5).astype(np.uint8)
    straight = np.minimum(pre.astype(np.float64) * 255 / alpha[..., None] + 0.5, 255).astype(np.uint8)
    put("rgba_associated", np.dstack([straight, alpha]), [Dir(np.dstack([pre, alpha]), RGB, tags={338: (3, [1])}, **tiled)])
    put("rgb_extra_unspecified", px, [Dir(rgba, RGB, tags={338: (3, [0])}, **tiled)])
    cmyk = np.dstack([255 - px, np.minimum(alpha, 60)])
    put("cmyk", cmyk, [Dir(cmyk, CMYK, tags={332: (3, [1])}, **tiled)])
    put("bands5", np.dstack([rgba, g]), [Dir(np.dstack([rgba, g]), BLACK0, **tiled)])
    put("bands7_planar", np.dstack([rgba, px]), [Dir(np.dstack([rgba, px]), BLACK0, planar=True, **tiled)])
    for n in (1, 2, 4):
        v = g >> (8 - n)
        full = v * (255 // ((1 << n) - 1))
        put(f"gray{n}", full, [Dir(v, BLACK0, bits=n)])
        put(f"gray{n}_white0_tiles", full, [Dir((1 << n) - 1 - v, WHITE0, bits=n, compression=DEFLATE, **tiled)])
    put("gray1_fill2", (g >> 7) * 255, [Dir(g >> 7, BLACK0, bits=1, fill=2)])
    rng = np.random.RandomState(7)
    for n in (1, 2, 4, 8):
        table = rng.randint(0, 256, (1 << n, 3))
        put(f"palette{n}", table[g >> (8 - n)].astype(np.uint8),
            [Dir(g >> (8 - n), PALETTE, bits=n, tags={320: (3, [int(v) * 257 for v in table.T.ravel()])}, **tiled)])
    put("palette8_old", table[g].astype(np.uint8), [Dir(g, PALETTE, tags={320: (3, [int(v) for v in table.T.ravel()])})])
    for name, kw in (("strips", {}), ("tiles", tiled)):
        put(f"rgb_planar_{name}", px, [Dir(px, RGB, planar=True, **kw)])
        put(f"rgba_planar_deflate_{name}", rgba, [Dir(rgba, RGB, planar=True, compression=DEFLATE, tags={338: (3, [2])}, **kw)])
    for tile in ((16, 128), (240, 16), (512, 512), (37, 53)):
        put(f"tile_{tile[0]}x{tile[1]}", px, [Dir(px, RGB, tile=tile)])
    for rows in (1, 7, H):
        put(f"strips_of_{rows}", px, [Dir(px, RGB, rows=rows, compression=DEFLATE)])
    put("offsets_short", g[:40, :40], [Dir(g[:40, :40], BLACK0, tile=(16, 16))], offsets=3)
    put("offsets_long8", px, [Dir(px, RGB, **tiled)], True, offsets=16)
    for o in range(1, 9):
        put(f"orientation{o}", px, [Dir(px, RGB, tags={274: (3, [o])}, **tiled)])
    reduced = {254: (4, [1])}
    put("pyramid_chain", px, [Dir(px, RGB, **tiled), Dir(small, RGB, tags=reduced, **tiled), Dir(smaller, RGB, tags=reduced, **tiled)])
    put("pyramid_unmarked", px, [Dir(px, RGB, **tiled), Dir(small, RGB, **tiled), Dir(smaller, RGB, **tiled)])
    put("pyramid_subifd", px, [Dir(px, RGB, sub=[Dir(small, RGB, tags=reduced, **tiled), Dir(smaller, RGB, tags=reduced, **tiled)], **tiled)])
    put("pages_3", px, [Dir(px, RGB), Dir(px[::-1].copy(), RGB), Dir(small, RGB)])
    white = px.copy()
    white[:64, 64:128] = 255
    put("empty_tile", white, [Dir(px, RGB, empty=[1], **tiled)])
    hole = rgba.copy()
    hole[:64, 64:128] = 0
    put("empty_tile_alpha", hole, [Dir(rgba, RGB, empty=[1], tags={338: (3, [2])}, **tiled)])
    ramp = (np.mgrid[0:H, 0:W][1] / np.float32(W) * 7 - 2).astype(np.float32)
    put("float32", ramp, [Dir(ramp, BLACK0, tags={340: (11, [-2.0]), 341: (11, [5.0])}, **tiled)])
    put("int16", (g.astype(np.int16) - 128) * 100, [Dir((g.astype(np.int16) - 128) * 100, BLACK0, **tiled)])
    icc = bytes(range(256)) * 2
    put("metadata", px, [Dir(px, RGB, tags={282: (5, [(300, 1)]), 283: (5, [(300, 1)]), 296: (3, [2]),
                                            700: (1, list(b"<x:xmpmeta/>")), 34675: (7, list(icc))}, **tiled)])


def compressions(put, folder):
    """The same picture through tiffcp and vips; lossy ones have no expectation."""
    px = photo()
    g = gray(px)
    src = {"rgb": os.path.join(folder, "rgb_strips_classic_le_none.tif"), "gray1": os.path.join(folder, "gray1.tif"),
           "gray16": os.path.join(folder, "gray16_strips_classic_le_none.tif")}
    exact = {"rgb": px, "gray1": (g >> 7) * 255, "gray16": g.astype(np.uint16) * 257}
    jobs = [("rgb", c) for c in ("lzw", "lzw:2", "zip:2", "packbits", "lzma:2", "zstd:2", "jpeg:r:75", "jpeg:90")]
    jobs += [("gray1", c) for c in ("g3:1d", "g3:2d:fill", "g4", "packbits", "lzw")] + [("gray16", "lzw:2"), ("gray16", "zip:2")]
    for kind, c in jobs:
        for name, opt in (("tiles", ["-t", "-w", "64", "-l", "48"]), ("strips", ["-s", "-r", "48"])):
            out = f"{kind}_{c.replace(':', '-')}_{name}"
            r = subprocess.run(["tiffcp", "-c", c, *opt, src[kind], os.path.join(folder, out + ".tif")], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
            if r.returncode == 0:
                put(out, None if "jpeg" in c else exact[kind])
    pyramid = ["--tile", "--pyramid", "--tile-width", "64", "--tile-height", "64"]
    for name, expect, opt in (("vips_pyramid_jpeg", None, ["--compression", "jpeg"]),
                              ("vips_pyramid_jpeg444", None, ["--compression", "jpeg", "--Q", "95"]),
                              ("vips_pyramid_jpeg_rgb", None, ["--compression", "jpeg", "--rgbjpeg"]),
                              ("vips_pyramid_webp", None, ["--compression", "webp"]),
                              ("vips_pyramid_webp_lossless", px, ["--compression", "webp", "--lossless"]),
                              ("vips_pyramid_zstd_big_subifd", px, ["--compression", "zstd", "--bigtiff", "--subifd"]),
                              ("vips_pyramid_lzw", px, ["--compression", "lzw"]),
                              ("vips_pyramid_deflate", px, ["--compression", "deflate", "--predictor", "none"])):
        r = subprocess.run(["vips", "tiffsave", src["rgb"], os.path.join(folder, name + ".tif"), *pyramid, *opt],
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if r.returncode == 0:
            put(name, expect)


class Coded(Dir):
    """Blocks that some program has made: a list of bytes."""

    def __init__(self, px, photometric, made, compression, **kw):
        super().__init__(px, photometric, compression=compression, **kw)
        self.made = made

    def blocks(self, order):
        return iter(self.made)


def cut(px, w, h, edge=True):
    """Tiles in their order; edge: those at the edges filled up."""
    for y in range(0, px.shape[0], h):
        for x in range(0, px.shape[1], w):
            t = px[y:y + h, x:x + w]
            yield np.pad(t, ((0, h - t.shape[0]), (0, w - t.shape[1]), (0, 0)), mode="edge") if edge else t


def code_stream(px, sub=(1, 1), bits=8, opt=()):
    """A JPEG 2000 code-stream of so many planes, without loss; of three the later two with fewer samples."""
    h, w, n = px.shape
    planes = [px[..., 0]] + [px[::sub[1], ::sub[0], i] for i in range(1, n)]
    with tempfile.TemporaryDirectory() as d:
        with open(d + "/a.raw", "wb") as f:
            f.write(b"".join(np.ascontiguousarray(p).astype(">u2" if bits > 8 else "u1").tobytes() for p in planes))
        by = ":".join(["1x1"] + ["%dx%d" % sub] * (n - 1))
        subprocess.run(["opj_compress", "-i", d + "/a.raw", "-o", d + "/a.j2k", "-F", "%d,%d,%d,%d,u@%s" % (w, h, n, bits, by),
                        *opt], check=True, stdout=subprocess.DEVNULL)
        return open(d + "/a.j2k", "rb").read()


def slides(put):
    """As slide scanners write: tiles of JPEG 2000 (Aperio 33003, 33005), a thumbnail in the chain, label and overview behind."""
    px = photo()
    ycc = np.asarray(Image.fromarray(px).convert("YCbCr"))
    t = dict(tile=(128, 128))

    def jp2(name, a, comp, expect, photometric=RGB, edge=True, bits=8, planar=False, **kw):
        parts = [a[..., i:i + 1] for i in range(a.shape[2])] if planar else [a]
        made = [code_stream(c, bits=bits, **kw) for p in parts for c in cut(p, 128, 128, edge)]
        put(name, expect, [Coded(a, photometric, made, comp, planar=planar, bits=bits, **t)])

    full = ycc.copy()
    full[..., 1:] = np.repeat(ycc[:, ::2, 1:], 2, 1)[:, :W]
    jp2("jp2_33003", ycc, 33003, of_ycc(ycc), opt=["-mct", "0"])
    jp2("jp2_33003_422", ycc, 33003, of_ycc(full), sub=(2, 1), opt=["-mct", "0"])
    jp2("jp2_33005", px, 33005, px, opt=["-mct", "1"])
    jp2("jp2_33005_cut", px, 33005, px, edge=False, opt=["-mct", "0", "-n", "3"])
    jp2("jp2_33005_planar", px, 33005, px, planar=True)
    jp2("jp2_34712_ycc", ycc, 34712, of_ycc(ycc), YCBCR, opt=["-mct", "0"])
    jp2("jp2_34712_grey", gray(px)[..., None], 34712, gray(px), BLACK0)
    deep = gray(px).astype(np.uint16)[..., None] * 16 + 5
    jp2("jp2_34712_grey12", deep, 34712, np.round(deep[..., 0] * 65535.0 / 4095).astype(np.uint16), BLACK0, bits=12)
    small, smaller = half(px), half(half(px))
    label, macro = px[:100, :60].copy(), px[20:80, :210].copy()
    put("slide", px, [Dir(px, RGB, compression=DEFLATE, tile=(64, 64)), Dir(smaller, RGB, compression=DEFLATE),
                      Dir(small, RGB, compression=DEFLATE, tile=(64, 64)), Dir(smaller, RGB, compression=DEFLATE, tile=(64, 64)),
                      Dir(label, RGB, tags={254: (4, [1])}), Dir(macro, RGB, tags={254: (4, [9])})])


def of_ycc(a):
    """Luma and chroma of all the range, ITU-R BT.601."""
    y, cb, cr = [a[..., i].astype(float) - (128 if i else 0) for i in range(3)]
    rgb = [y + 1.402 * cr, y - 0.114 * 1.772 / 0.587 * cb - 0.299 * 1.402 / 0.587 * cr, y + 1.772 * cb]
    return np.clip(np.stack(rgb, -1) + 0.5, 0, 255).astype(np.uint8)


def make(folder):
    """Writes all; returns the names of the files."""
    os.makedirs(folder, exist_ok=True)
    names, expected = [], {}

    def put(name, expect, dirs=None, big=False, order="<", **kw):
        if dirs:
            write(os.path.join(folder, name + ".tif"), dirs, bool(big), order, **kw)
        names.append(name)
        if expect is not None:
            expected[name] = expect

    layouts(put)
    slides(put)
    compressions(put, folder)
    np.savez(os.path.join(folder, "expected.npz"), **expected)
    return names


if __name__ == "__main__":
    print("%d pictures" % len(make(sys.argv[1] if len(sys.argv) > 1 else "build/data/tiff")))
