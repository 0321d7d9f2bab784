#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Pictures for the JPIP tests: make(folder). Code-streams come from opj_compress and (HT) grk_compress; the boxes of JPX
movies, and the code-streams with packet headers set apart, are written here.

order-tiled-plt.jp2 for five orders, tiled or whole (whole has precincts), with PLT or without; poc, parts, ppm, ppt, marks (SOP
and EPH), sub (4:2:0), offset, gray, lossy (9/7), ht, bare.j2k; movies: links.jpx (relative and absolute links, one broken), embedded.jpx,
boxes.jp2 (much metadata)."""
import os
import struct
import subprocess
import sys
import tempfile

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "http"))
from jpip_client import Stream  # noqa: E402

W, H = 187, 141
ORDERS = ["LRCP", "RLCP", "RPCL", "PCRL", "CPRL"]
FRAMES = 40  # of the movies


def picture(w=W, h=H, turn=0):
    x, y = np.meshgrid(np.arange(w), np.arange(h))
    px = np.stack([x * 255 // w, y * 255 // h, (127 + 100 * np.sin(x / 9 + turn) * np.cos(y / 13)).astype(int)], -1)
    px = px + np.random.RandomState(5).randint(-9, 9, px.shape)
    px[h // 3:h // 2, w // 4:w // 2] = (250, 20, 20)
    return px.clip(0, 255).astype(np.uint8)


def ppm(px):
    return b"P6\n%d %d\n255\n" % (px.shape[1], px.shape[0]) + px.tobytes()


def run(tool, data, ext, out, *options):
    with tempfile.NamedTemporaryFile(suffix=ext) as f:
        f.write(data)
        f.flush()
        subprocess.run([tool, "-i", f.name, "-o", out, *options], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)


def opj(px, out, *options):
    run("opj_compress", ppm(px), ".ppm", out, *options)


def box(name, data):
    return struct.pack(">I", len(data) + 8) + name + data


def apart(stream, in_tile):
    """SOP and EPH tell the packets and their headers apart: the headers go into PPM or PPT segments."""
    sot = stream.index(b"\xff\x90")
    main, at, tiles, heads_of = stream[:sot], sot, [], []
    while stream[at:at + 2] == b"\xff\x90":
        tile, n, part, parts = struct.unpack_from(">HIBB", stream, at + 4)
        sod = stream.index(b"\xff\x93", at) + 2
        data, heads, bodies = stream[sod:at + n], b"", b""
        for packet in data.split(b"\xff\x91\x00\x04")[1:]:
            head, body = packet[2:].split(b"\xff\x92", 1)
            heads += head + b"\xff\x92"
            bodies += b"\xff\x91\x00\x04" + packet[:2] + body
        front = stream[at + 12:sod - 2]
        if in_tile:
            front += struct.pack(">HHB", 0xFF61, 3 + len(heads), 0) + heads
        tiles.append((tile, part, parts, front, bodies))
        heads_of.append(heads)
        at += n
    if not in_tile:
        both = b"".join(struct.pack(">I", len(h)) + h for h in heads_of)
        for i in range(0, len(both), 3000):  # a segment may end anywhere
            piece = both[i:i + 3000]
            main += struct.pack(">HHB", 0xFF60, 3 + len(piece), i // 3000) + piece
    out = main
    for tile, part, parts, front, bodies in tiles:
        out += struct.pack(">HHHIBB", 0xFF90, 10, tile, 12 + len(front) + 2 + len(bodies), part, parts)
        out += front + b"\xff\x93" + bodies
    return out + b"\xff\xd9"


def reordered(stream, comps):
    """An LRCP code-stream of one tile by two progressions: all resolutions' first layer, then the rest by RLCP."""
    st, sot = Stream(stream[:stream.index(b"\xff\x90")]), stream.index(b"\xff\x90")
    sod = stream.index(b"\xff\x93") + 2
    packets = iter(stream[sod:-2].split(b"\xff\x91\x00\x04")[1:])
    levels, layers = st.cod.levels, st.layers

    def walk(r, c):
        w, h, _, _ = st.grid(0, c, r)
        return range(w * h)

    named = {(k, r, c, p): next(packets)[2:] for k in range(layers) for r in range(levels + 1) for c in range(comps) for p in walk(r, c)}
    order = [(0, r, c, p) for r in range(levels + 1) for c in range(comps) for p in walk(r, c)]
    order += [(k, r, c, p) for r in range(levels + 1) for k in range(1, layers) for c in range(comps) for p in walk(r, c)]
    body = b"".join(b"\xff\x91\x00\x04" + struct.pack(">H", i & 0xFFFF) + named[who] for i, who in enumerate(order))
    changes = struct.pack(">BBHBBB", 0, 0, 1, levels + 1, comps, 0) + struct.pack(">BBHBBB", 0, 0, layers, levels + 1, comps, 1)
    main = stream[:sot] + struct.pack(">HH", 0xFF5F, 2 + len(changes)) + changes
    front = stream[sot + 12:sod]
    return main + struct.pack(">HHHIBB", 0xFF90, 10, 0, 12 + len(front) + len(body), 0, 1) + front + body + b"\xff\xd9"


def jp2_of(stream, extra=b""):
    x1, y1, x0, y0 = struct.unpack(">4I", stream[8:24])
    comps, = struct.unpack(">H", stream[40:42])
    head = box(b"ihdr", struct.pack(">IIHBBBB", y1 - y0, x1 - x0, comps, 7, 7, 0, 0))
    head += box(b"colr", struct.pack(">BBBI", 1, 0, 0, 16 if comps == 3 else 17))
    return (box(b"jP  ", b"\r\n\x87\n") + box(b"ftyp", b"jp2 \0\0\0\0jp2 ") + box(b"jp2h", head) + extra
            + box(b"jp2c", stream))


def jpx(head, bodies, urls=(), extra=b""):
    """bodies: boxes of the code-streams in their order."""
    out = box(b"jP  ", b"\r\n\x87\n") + box(b"ftyp", b"jpx \0\0\0\0jpx jp2 ") + head
    out += b"".join(box(b"jpch", b"") + box(b"jplh", b"") for _ in bodies[:3]) + extra
    if urls:
        table = b"".join(box(b"url ", b"\0\0\0\0" + u.encode() + b"\0") for u in urls)
        out += box(b"dtbl", struct.pack(">H", len(urls)) + table)
    return out + b"".join(bodies)


def link(off, n, entry):
    return box(b"ftbl", box(b"flst", struct.pack(">HQIH", 1, off, n, entry)))


def codestream(path):
    with open(path, "rb") as f:
        data = f.read()
    at = data.index(b"jp2c") + 4
    return data[at:], at


def make(out):
    os.makedirs(out, exist_ok=True)
    if os.path.exists(out + "/done"):
        return out
    px, name = picture(), lambda n: os.path.join(out, n)
    whole, tiled = ["-c", "[32,32]", "-n", "5"], ["-t", "64,70", "-n", "4", "-c", "[64,64]"]
    for order in ORDERS:
        for kind, how in (("whole", whole), ("tiled", tiled)):
            for plt in ("plt", "none"):
                opj(px, name("%s-%s-%s.jp2" % (order.lower(), kind, plt)), "-p", order, "-r", "24,8,1", *how,
                    *(["-PLT"] if plt == "plt" else []))
    opj(px, name("lrcp.j2k"), "-r", "24,8,1", "-p", "LRCP", "-SOP", "-EPH", *whole)
    with open(name("lrcp.j2k"), "rb") as f, open(name("poc.jp2"), "wb") as g:
        g.write(jp2_of(reordered(f.read(), px.shape[2])))
    opj(px, name("parts.jp2"), "-r", "24,1", "-p", "RLCP", "-TP", "R", "-t", "100,100", "-n", "4")
    opj(px, name("marks.j2k"), "-r", "24,8,1", "-p", "PCRL", "-SOP", "-EPH", *tiled)
    opj(px, name("offset.jp2"), "-r", "24,1", "-p", "PCRL", "-d", "37,21", "-T", "10,5", "-t", "64,64", "-n", "4", "-c", "[32,32]")
    opj(px, name("lossy.jp2"), "-I", "-r", "30,10,4", "-p", "RPCL", "-c", "[32,32]", "-n", "5")
    opj(px, name("bare.j2k"), "-r", "1", "-n", "3")
    opj(px[..., :1].repeat(3, 2), name("default.jp2"), "-n", "6")
    run("opj_compress", b"P5\n%d %d\n255\n" % (W, H) + px[..., 0].tobytes(), ".pgm", name("gray.jp2"), "-p", "RPCL", "-c", "[64,64]",
        "-r", "12,1")
    planes = px[..., 0].tobytes() + px[:-1:2, :-1:2, 1].tobytes() + px[:-1:2, :-1:2, 2].tobytes()
    run("opj_compress", planes[:W * H] + px[::2, ::2, 1].tobytes() + px[::2, ::2, 2].tobytes(), ".raw", name("sub.jp2"), "-F",
        "%d,%d,3,8,u@1x1:2x2:2x2" % (W, H), "-r", "20,1", "-n", "4", "-c", "[32,32]", "-p", "PCRL", "-mct", "0")
    run("grk_compress", ppm(px), ".ppm", name("ht.jp2"), "-M", "64", "-n", "4", "-c", "[64,64]")
    with open(name("marks.j2k"), "rb") as f:
        marked = f.read()
    for kind in ("ppm", "ppt"):
        with open(name(kind + ".jp2"), "wb") as f:
            f.write(jp2_of(apart(marked, kind == "ppt")))
    # movies
    os.makedirs(name("frames"), exist_ok=True)
    for i in range(4):
        opj(picture(96, 80, i), name("frames/%d.jp2" % i), "-n", "3", "-r", "10,1", *(["-PLT"] if i & 1 else []))
    frames = [codestream(name("frames/%d.jp2" % i)) for i in range(4)]
    with open(name("frames/0.jp2"), "rb") as f:
        data = f.read()
    head = data[data.index(b"jp2h") - 4:data.index(b"jp2c") - 4]
    assoc = box(b"asoc", box(b"nlst", struct.pack(">I", 0x01000000)) + box(b"xml ", b"<meta>" + b"sun " * 900 + b"</meta>"))
    with open(name("embedded.jpx"), "wb") as f:
        f.write(jpx(head, [box(b"jp2c", frames[i % 4][0]) for i in range(6)], extra=assoc))
    urls = ["file://./frames/%d.jp2" % i for i in range(2)] + ["frames/2.jp2", "file://" + os.path.abspath(name("frames/3.jp2"))]
    urls += ["file://frames/gone.jp2", "http://127.0.0.1:9/x.jp2", "file:///etc/passwd", "../../etc/passwd"]
    bodies = [link(frames[i % 4][1], len(frames[i % 4][0]), i % 4 + 1) for i in range(FRAMES)]
    for i, entry in enumerate((5, 6, 7, 8, 99)):  # broken each in its own way
        bodies[10 + i] = link(100, 1000, entry)
    bodies[20] = link(frames[0][1] + 50000000, 1000, 1)  # outside of the file
    with open(name("links.jpx"), "wb") as f:
        f.write(jpx(head, bodies, urls, assoc))
    with open(name("broken.jpx"), "wb") as f:
        f.write(jpx(head, [link(0, 0, 1)], ["gone.jp2"]))
    extra = box(b"xml ", b"<a>small</a>") + box(b"xml ", b"<a>" + b"large " * 1000 + b"</a>") + box(b"uuid", b"u" * 5000)
    with open(name("boxes.jp2"), "wb") as f:
        f.write(jp2_of(frames[0][0], extra))
    with open(name("cut.jp2"), "wb") as f:
        with open(name("rpcl-whole-none.jp2"), "rb") as g:
            f.write(g.read()[:30000])
    open(out + "/done", "w").close()
    return out


if __name__ == "__main__":
    print(make(sys.argv[1] if len(sys.argv) > 1 else "build/data/jpip"))
