#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""HEIC and AVIF files of the shapes that phones write, out of pictures that a plain encoder made: rebuild() takes tiles of one size
and puts them under a grid (ISO/IEC 23008-12, 6.6.2.3.2) with turns, a clean aperture and an alpha picture, each as a box of its own."""
import struct


def box(name, *body):
    data = b"".join(body)
    return struct.pack(">I4s", 8 + len(data), name) + data


def full(name, version, flags, *body):
    return box(name, struct.pack(">I", version << 24 | flags), *body)


def boxes(data, at=0, end=None):
    """(name, body) of each box."""
    end = len(data) if end is None else end
    while at + 8 <= end:
        n, name = struct.unpack_from(">I4s", data, at)
        n = n or end - at
        yield name, data[at + 8:at + n]
        at += n


def primary(data):
    """(its properties as whole boxes in order, bytes of the code-stream) of the primary item of a file of heif-enc or avifenc."""
    meta = dict(boxes(dict(boxes(data))[b"meta"][4:]))
    item = struct.unpack(">H", meta[b"pitm"][4:6])[0]
    props = dict(boxes(meta[b"iprp"]))
    all_props = [box(n, b) for n, b in boxes(props[b"ipco"])]
    ipma, at, mine = props[b"ipma"], 8, []
    for _ in range(struct.unpack_from(">I", ipma, 4)[0]):
        of, count = struct.unpack_from(">HB", ipma, at)
        if of == item:
            mine = [ipma[at + 3 + i] & 127 for i in range(count)]
        at += 3 + count
    iloc = meta[b"iloc"]
    version, sizes, at = iloc[0], iloc[4:6], 6
    (count,), at = struct.unpack_from(">H", iloc, at), at + 2
    off_size, len_size, base_size = sizes[0] >> 4, sizes[0] & 15, sizes[1] >> 4
    number = lambda at, n: int.from_bytes(iloc[at:at + n], "big")  # noqa: E731
    out = b""
    for _ in range(count):
        of, at = number(at, 2), at + (4 if version else 2)  # and the method of construction
        at += 2
        base, at = number(at, base_size), at + base_size
        extents, at = number(at, 2), at + 2
        for _ in range(extents):
            start, n = number(at, off_size), number(at + off_size, len_size)
            at += off_size + len_size
            if of == item:
                out += data[base + start:base + start + n]
    return [all_props[i - 1] for i in mine], out


def ispe(w, h):
    return full(b"ispe", 0, 0, struct.pack(">II", w, h))


def irot(quarters):
    return box(b"irot", bytes([quarters]))  # against the clock


def imir(axis):
    return box(b"imir", bytes([axis]))


def clap(w, h, of_w, of_h, x, y):
    """A w x h part of which the upper left is at x, y; distances are from centre to centre."""
    return box(b"clap", struct.pack(">IIIIiIiI", w, 1, h, 1, 2 * x + w - of_w, 2, 2 * y + h - of_h, 2))


def rebuild(tiles, columns, size=None, extra=(), alpha=None, brands=(b"heic", b"mif1"), kind=b"hvc1"):
    """tiles: files of one picture each, all of one shape, row by row. size: of the grid if not all the tiles show. extra: properties
    put behind the others of the picture. alpha: a file of a grey picture, for pictures of one tile."""
    made = [primary(t) for t in tiles]
    tile_props = [p for p in made[0][0] if p[4:8] not in (b"irot", b"imir", b"clap")]
    (tw, th), = [struct.unpack(">II", p[12:20]) for p in tile_props if p[4:8] == b"ispe"]
    rows = len(tiles) // columns
    items, props, refs, payload = [], [], [], []
    of = []  # properties of each item

    def use(p):
        if p not in props:
            props.append(p)
        return props.index(p) + 1

    for _, data in made:
        items.append((kind, 1 if len(tiles) > 1 else 0))
        payload.append(data)
        of.append([use(p) for p in tile_props])
    if len(tiles) > 1:
        w, h = size or (tw * columns, th * rows)
        wide = w > 65535 or h > 65535
        payload.append(struct.pack(">BBBB", 0, wide, rows - 1, columns - 1) + struct.pack(">II" if wide else ">HH", w, h))
        refs.append((b"dimg", len(tiles) + 1, list(range(1, len(tiles) + 1))))
        items.append((b"grid", 0))
        of.append([use(ispe(w, h))] + [use(p) for p in tile_props if p[4:8] in (b"colr", b"pixi")])
    main = len(items)
    of[-1] += [use(p) for p in extra]
    if alpha:
        p, data = primary(alpha)
        urn = b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0" if kind == b"av01" else b"urn:mpeg:hevc:2015:auxid:1\0"
        items.append((kind, 1))
        payload.append(data)
        of.append([use(x) for x in p] + [use(full(b"auxC", 0, 0, urn))])
        refs.append((b"auxl", len(items), [main]))
    infe = [full(b"infe", 2, hidden, struct.pack(">HH4s", i + 1, 0, t), b"\0") for i, (t, hidden) in enumerate(items)]
    ipma = b"".join(struct.pack(">HB", i + 1, len(p)) + bytes(128 * (props[k - 1][4:8] in (b"hvcC", b"av1C", b"irot", b"imir", b"clap")) | k for k in p)
                    for i, p in enumerate(of))
    ftyp = box(b"ftyp", brands[0], bytes(4), *brands)

    def meta(at):
        iloc = b""
        for i, data in enumerate(payload):
            iloc += struct.pack(">HHHII", i + 1, 0, 1, at, len(data))
            at += len(data)
        return full(b"meta", 0, 0, full(b"hdlr", 0, 0, bytes(4), b"pict", bytes(13)), full(b"pitm", 0, 0, struct.pack(">H", main)),
                    full(b"iloc", 0, 0, b"\x44\0", struct.pack(">H", len(payload)), iloc), full(b"iinf", 0, 0, struct.pack(">H", len(items)), *infe),
                    full(b"iref", 0, 0, *[box(n, struct.pack(">HH", i, len(to)), struct.pack(">%dH" % len(to), *to)) for n, i, to in refs]) if refs else b"",
                    box(b"iprp", box(b"ipco", *props), full(b"ipma", 0, 0, struct.pack(">I", len(of)), ipma)))

    front = len(ftyp) + len(meta(0)) + 8
    return ftyp + meta(front) + box(b"mdat", *payload)
