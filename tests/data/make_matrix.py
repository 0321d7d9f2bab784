#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""TIFF of every depth in every colour space and layout, and other formats in theirs (matrix_formats.py): make(folder) writes
SPACE-DEPTH-LAYOUT.tif, FORMAT.N.SPACE-DEPTH-LAYOUT.FORMAT and stored.npz (the name without the layout -> the samples as stored).
tests/http/test_matrix.py says what they look like."""
import os
import sys

import numpy as np

import matrix_formats
from make_tiff import BLACK0, CMYK, DEFLATE, Dir, PALETTE, RGB, UNCOMPRESSED, WHITE0, YCBCR, write

W, H = 61, 43
CIELAB, ICCLAB = 8, 9
SGILOG, LOGL, LOGLUV = 34676, 32844, 32845

UINTS, INTS, FLOATS = list(range(1, 17)) + [17, 20, 24, 32], [2, 8, 12, 16, 24, 32], [16, 24, 32, 64]
DEPTHS = ["u%d" % n for n in UINTS] + ["s%d" % n for n in INTS] + ["f%d" % n for n in FLOATS]

# name: photometric, samples, ExtraSamples, depths
SPACES = {
    "white0": (WHITE0, 1, [], DEPTHS),
    "black0": (BLACK0, 1, [], DEPTHS),
    "grey+alpha": (BLACK0, 2, [2], ["u1", "u4", "u8", "u12", "u16", "u32", "f32"]),
    "rgb": (RGB, 3, [], DEPTHS),
    "rgb+alpha": (RGB, 4, [2], ["u8", "u10", "u16", "u32", "f16", "f32"]),
    "rgb+other": (RGB, 4, [0], ["u8", "u16"]),
    "palette": (PALETTE, 1, [], ["u%d" % n for n in range(1, 9)]),
    "palette+alpha": (PALETTE, 2, [2], ["u4", "u8"]),
    "cmyk": (CMYK, 4, [], ["u8", "u10", "u12", "u16", "u32", "f32"]),
    "cmyk+alpha": (CMYK, 5, [2], ["u8", "u16"]),
    "cielab": (CIELAB, 3, [], ["u8", "u16", "s8", "s16", "f32", "f64"]),
    "cielab+alpha": (CIELAB, 4, [2], ["u8", "u16"]),
    "icclab": (ICCLAB, 3, [], ["u8", "u16"]),
    "ycc": (YCBCR, 3, [], ["u8"]),
    "bands2": (BLACK0, 2, [0], ["u8", "s16", "f32"]),
    "bands3": (BLACK0, 3, [0, 0], ["u8", "u12", "f64"]),
    "bands4+alpha": (RGB, 5, [0, 2], ["u8", "u16"]),
    "bands7": (RGB, 7, [0, 0, 0, 0], ["u8", "u14", "f16"]),
    "bands64": (BLACK0, 64, [0] * 63, ["u8", "u10", "s8", "f64"]),
    "bands1024": (BLACK0, 1024, [0] * 1023, ["u8"]),
}
LAYOUTS = {"strips": {"rows": 7}, "tiles": {"tile": (32, 16)}, "planes": {"rows": 43, "planar": True},
           "planetiles": {"tile": (16, 32), "planar": True}}
RANGES = {"f32": (-3.0, 1000.0), "s16": (-100, 9000), "u12": (0, 2000)}  # with SMinSampleValue and SMaxSampleValue


def samples(depth, n, seed):
    """Anything at all, with both ends of the range."""
    rng = np.random.RandomState(seed)
    bits = int(depth[1:])
    shape = (H, W, n)
    if depth[0] == "f" and bits != 24:
        px = rng.uniform(-0.2, 1.2, shape).astype("f%d" % (bits // 8))
        px[0, 0], px[0, 1], px[0, 2], px[0, 3], px[0, 4] = 0, 1, np.nan, np.inf, -np.inf
        return px
    if depth[0] == "f":  # codes of 1 + 7 + 16 bits, of values from 2^-7 to 2
        px = (rng.randint(0, 2, shape) << 23 | rng.randint(56, 64, shape) << 16 | rng.randint(0, 65536, shape)).astype(np.uint32)
        px[0, :4] = np.array([0, 63 << 16, 5, 127 << 16])[:, None]
        return px
    px = rng.randint(0, 1 << bits, shape, dtype=np.uint64).astype(np.uint32 if bits > 16 else np.uint16 if bits > 8 else np.uint8)
    px[0, 0], px[0, 1] = 0, (1 << bits) - 1
    return px


def clumps(px, sx, sy):
    """YCbCr with chroma of one pixel for sx x sy: (full planes as a decoder sees them, rows of clumps)."""
    h, w = px.shape[:2]
    full, rows = px.copy(), []
    full[..., 1:] = np.repeat(np.repeat(px[::sy, ::sx, 1:], sy, 0), sx, 1)[:h, :w]
    for y in range(0, h, sy):
        row = bytearray()
        for x in range(0, w, sx):
            for j in range(sy):
                for i in range(sx):
                    row.append(full[min(y + j, h - 1), min(x + i, w - 1), 0])
            row += bytes(full[y, x, 1:])
        rows.append(bytes(row))
    return full, rows


class Clumps(Dir):
    """Subsampled chroma, in strips of so many rows or one tile."""

    def __init__(self, px, sx, sy, tile=None, **kw):
        super().__init__(px, YCBCR, tile=tile, tags={530: (3, [sx, sy])}, **kw)
        self.sub = ()
        self.by = sx, sy

    def blocks(self, order):
        h, w = self.px.shape[:2]
        bw, bh = self.tile or (w, self.rows)
        for y in range(0, h, bh):
            for x in range(0, w, bw):
                b = self.px[y:y + bh, x:x + bw]
                if self.tile:
                    b = np.pad(b, ((0, bh - b.shape[0]), (0, bw - b.shape[1]), (0, 0)), mode="edge")
                yield b"".join(clumps(b, *self.by)[1])


class Logs(Dir):
    """SGI's logarithms: 16 bits of luminance, 8 each of u' and v'; each byte of a row's codes by itself, in counted pieces."""

    def __init__(self, codes, **kw):
        n = codes.shape[2]
        super().__init__(codes.astype(np.int16), LOGL if n == 1 else LOGLUV, compression=SGILOG, **kw)

    def blocks(self, order):
        px = self.px.astype(np.uint16)
        for y in range(0, px.shape[0], self.rows):
            out = b""
            for row in px[y:y + self.rows]:
                planes = [row[:, 0] >> 8, row[:, 0] & 255] + [row[:, i] for i in range(1, row.shape[1])]
                for p in planes:
                    raw = p.astype(np.uint8).tobytes()
                    out += b"".join(bytes([len(raw[i:i + 100])]) + raw[i:i + 100] for i in range(0, len(raw), 100))
            yield out


def logs(n):
    """Codes of all that a screen shows, and some brighter; colours near white."""
    rng = np.random.RandomState(90 + n)
    return np.dstack([rng.randint(64 * 256 - 1500, 64 * 256 + 100, (H, W))] + [rng.randint(lo, hi, (H, W)) for lo, hi in ((70, 100), (180, 205))][:n - 1])


def table(bits):
    return np.random.RandomState(bits).randint(0, 256, (1 << bits, 3))


def make(folder):
    os.makedirs(folder, exist_ok=True)
    stored, count = {}, 0

    def put(name, d):
        nonlocal count
        count += 1
        write(os.path.join(folder, name + ".tif"), [d], count % 5 == 0, "<>"[count % 2])

    for space, (photometric, n, extra, depths) in SPACES.items():
        for depth in depths:
            bits, name = int(depth[1:]), "%s-%s" % (space, depth)
            px = stored[name] = samples(depth, n, len(stored))
            tags = {338: (3, extra)} if extra else {}
            if photometric == PALETTE:
                tags[320] = (3, [int(v) * 257 for v in table(bits).T.ravel()])
            if photometric == YCBCR:
                tags[530] = (3, [1, 1])
            for i, (layout, kw) in enumerate(LAYOUTS.items()):
                if n > 1 or not kw.get("planar"):
                    put(name + "-" + layout, Dir(px, photometric, bits=bits, kind={"u": 1, "s": 2, "f": 3}[depth[0]], tags=tags,
                                                 compression=(UNCOMPRESSED, DEFLATE)[(i + len(stored)) % 2],
                                                 fill=2 if (i + len(stored)) % 7 == 0 else 1, **kw))
    for depth, (lo, hi) in RANGES.items():
        px = stored["range-" + depth] = samples(depth, 3, 77) if depth[0] != "f" else (samples("f32", 3, 78) * 1000).astype(np.float32)
        kind, bits = {"u": (1, 3), "s": (2, 8), "f": (3, 11)}[depth[0]], int(depth[1:])
        for layout in ("strips", "tiles"):
            put("range-%s-%s" % (depth, layout), Dir(px, RGB, bits=bits, kind=kind[0], **LAYOUTS[layout],
                                                     tags={340: (kind[1], [lo] * 3), 341: (kind[1], [hi] * (3 if layout == "tiles" else 1))}))
    for sx in (1, 2, 4):
        for sy in (1, 2, 4):
            px = samples("u8", 3, 100 + sx * 10 + sy)
            name = "ycc%d%d-u8" % (sx, sy)
            stored[name] = clumps(px, sx, sy)[0]
            put(name + "-strips", Clumps(stored[name], sx, sy, rows=8))
            put(name + "-tiles", Clumps(stored[name], sx, sy, tile=(64, 16)))
    for space, n in (("logl", 1), ("logluv", 3)):
        stored[space + "-s16"] = logs(n)
        put(space + "-s16-strips", Logs(stored[space + "-s16"], rows=8))

    def other(name, layout, ending, px, data):
        nonlocal count
        count += 1
        stored[name] = px
        with open(os.path.join(folder, "%s-%s.%s" % (name, layout, ending)), "wb") as f:
            f.write(data)

    matrix_formats.make(other)
    np.savez(os.path.join(folder, "stored.npz"), **stored)
    return count


if __name__ == "__main__":
    print("%d pictures" % make(sys.argv[1] if len(sys.argv) > 1 else "build/data/matrix"))
