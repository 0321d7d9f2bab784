# SPDX-License-Identifier: Apache-2.0
"""A JPIP client, written from the specification and sharing nothing with the server: it reads the message stream,
keeps the data-bins, and rebuilds from them a code-stream that any decoder takes.

The geometry (tiles, resolutions, precincts, their numbers) is computed here from the main header alone. Packets are
found in a bin by reading packet headers; what is missing becomes an empty packet."""
import struct

PRECINCT, TILE_HEADER, TILE, MAIN, META = 0, 2, 4, 6, 8


def vbas(data, at):
    v = 0
    for k in range(9):
        b = data[at]
        at += 1
        v = v << 7 | b & 0x7F
        if not b & 0x80:
            return v, at
    raise ValueError("a number of more than nine bytes")


class Bin:
    def __init__(self):
        self.parts, self.complete, self.doubled = {}, False, 0

    def add(self, off, body, last):
        have = self.data()
        if off < len(have):
            assert have[off:off + len(body)] == body[:len(have) - off], "the same place of a bin with other bytes"
            self.doubled += min(len(body), len(have) - off)
        assert not (self.complete and off + len(body) > len(have)), "more bytes of a complete bin"
        self.parts.setdefault(off, b"")
        if len(body) >= len(self.parts[off]):
            self.parts[off] = body
        self.complete |= last
        self._joined = None

    _joined = None

    def data(self):
        """The bytes from the start on that are there."""
        if self._joined is None:
            out = b""
            for off in sorted(self.parts):
                if off > len(out):
                    break
                body = self.parts[off]
                if off + len(body) > len(out):
                    out = out[:off] + body
            self._joined = out
            self.parts = {0: out} if out and len(out) == max(o + len(b) for o, b in self.parts.items()) else self.parts
        return self._joined


class Message:
    def __init__(self, cls, stream, num, off, body, last, aux, header):
        self.cls, self.stream, self.num, self.off, self.body, self.last, self.aux, self.header = (
            cls, stream, num, off, body, last, aux, header)

    def __repr__(self):
        return "<class %d stream %d bin %d: %d+%d%s>" % (self.cls, self.stream, self.num, self.off, len(self.body),
                                                         " last" if self.last else "")


def messages(data):
    """All messages of a response and the reason of its end."""
    out, at, cls, stream = [], 0, 0, 0
    while True:
        start = at
        b = data[at]
        at += 1
        form = b >> 5 & 3
        if form == 0:
            assert b == 0, "a header of no kind: %02x" % b
            reason = data[at]
            n, at = vbas(data, at + 1)
            assert at + n == len(data), "bytes behind the end of response"
            return out, reason
        last, num, more = bool(b & 0x10), b & 15, b & 0x80
        while more:
            b = data[at]
            at += 1
            num, more = num << 7 | b & 0x7F, b & 0x80
        if form >= 2:
            cls, at = vbas(data, at)
        if form == 3:
            stream, at = vbas(data, at)
        assert out or form == 3, "the first header is not in full form"
        off, at = vbas(data, at)
        n, at = vbas(data, at)
        aux = None
        if cls & 1:
            aux, at = vbas(data, at)
        assert at + n <= len(data), "a message longer than the response"
        out.append(Message(cls, stream, num, off, data[at:at + n], last, aux, data[start:at]))
        at += n


class Cache:
    """Everything received so far."""

    def __init__(self):
        self.bins, self.doubled = {}, 0

    def take(self, data):
        ms, reason = messages(data)
        for m in ms:
            key = (0 if m.cls == META else m.stream, m.cls & ~1, m.num)
            b = self.bins.setdefault(key, Bin())
            b.add(m.off, m.body, m.last)
        self.doubled = sum(b.doubled for b in self.bins.values())
        return ms, reason

    def get(self, cls, num=0, stream=0):
        b = self.bins.get((stream, cls, num))
        return b.data() if b else b""

    def complete(self, cls, num=0, stream=0):
        b = self.bins.get((stream, cls, num))
        return bool(b and b.complete)

    def model(self):
        """The text of model= for all of it."""
        out, streams = [], sorted({k[0] for k in self.bins if k[1] != META})
        for (s, cls, n), b in sorted(self.bins.items()):
            if cls == META:
                out.append("M%d%s" % (n, "" if b.complete else ":%d" % len(b.data())))
        for stream in streams:
            out.append("[%d]" % stream)
            for (s, cls, n), b in sorted(self.bins.items()):
                if cls != META and s == stream:
                    name = {PRECINCT: "P%d", TILE_HEADER: "H%d", TILE: "T%d"}.get(cls, "Hm")
                    out.append((name % n if "%" in name else name) + ("" if b.complete else ":%d" % len(b.data())))
        return ",".join(out).replace("],", "]")


# ---- the code-stream

def up(a, b):
    return -(-a // b)


def segments(data, at=0, marks=(0xFF4F,)):
    """(marker, segment's bytes) of a header."""
    while at + 2 <= len(data):
        m, = struct.unpack_from(">H", data, at)
        if m in marks:
            at += 2
            continue
        n, = struct.unpack_from(">H", data, at + 2)
        yield m, data[at + 4:at + 2 + n]
        at += 2 + n


class Coding:
    """COD or COC: what a tile-component is coded with."""

    def __init__(self, style, p):
        self.levels, self.xcb, self.ycb, self.style, self.wavelet = p[0], p[1] + 2, p[2] + 2, p[3], p[4]
        self.precincts = [(x & 15, x >> 4) for x in p[5:6 + self.levels]] if style & 1 else [(15, 15)] * (self.levels + 1)


class Stream:
    """The geometry of a code-stream, from its main and tile headers."""

    def __init__(self, main, tile_headers=None):
        self.main, self.coc, self.tile_coding, self.tile_layers = main, {}, {}, {}
        for m, s in segments(main):
            if m == 0xFF51:
                (self.rsiz, self.x1, self.y1, self.x0, self.y0, self.tw, self.th, self.tx0, self.ty0,
                 self.comps) = struct.unpack_from(">HIIIIIIIIH", s)
                self.sub = [(s[36 + 3 * c + 1], s[36 + 3 * c + 2]) for c in range(self.comps)]
            elif m == 0xFF52:
                self.scod, self.order, self.layers, self.mct = struct.unpack_from(">BBHB", s)
                self.cod = Coding(self.scod, s[5:])
            elif m == 0xFF53:
                wide = 2 if self.comps > 256 else 1
                c = int.from_bytes(s[:wide], "big")
                self.coc[c] = Coding(s[wide], s[wide + 1:])
        self.columns, self.rows = up(self.x1 - self.tx0, self.tw), up(self.y1 - self.ty0, self.th)
        self.tiles = self.columns * self.rows
        for t, head in (tile_headers or {}).items():
            cod, coc = None, {}
            for m, s in segments(head):
                if m == 0xFF52:
                    self.tile_layers[t] = struct.unpack_from(">H", s, 2)[0]
                    cod = Coding(s[0], s[5:])
                elif m == 0xFF53:
                    wide = 2 if self.comps > 256 else 1
                    coc[int.from_bytes(s[:wide], "big")] = Coding(s[wide], s[wide + 1:])
            self.tile_coding[t] = (cod, coc)

    def coding(self, t, c):
        cod, coc = self.tile_coding.get(t, (None, {}))
        return coc.get(c) or cod or self.coc.get(c) or self.cod

    def layers_of(self, t):
        return self.tile_layers.get(t, self.layers)

    def tile_box(self, t):
        p, q = t % self.columns, t // self.columns
        return (max(self.tx0 + p * self.tw, self.x0), max(self.ty0 + q * self.th, self.y0),
                min(self.tx0 + (p + 1) * self.tw, self.x1), min(self.ty0 + (q + 1) * self.th, self.y1))

    def res_box(self, t, c, r):
        dx, dy = self.sub[c]
        n = self.coding(t, c).levels - r
        x0, y0, x1, y1 = self.tile_box(t)
        return tuple(up(up(v, d), 1 << n) for v, d in ((x0, dx), (y0, dy), (x1, dx), (y1, dy)))

    def grid(self, t, c, r):
        """(precincts wide, high) of a resolution, and their exponents."""
        x0, y0, x1, y1 = self.res_box(t, c, r)
        px, py = self.coding(t, c).precincts[r]
        wide = up(x1, 1 << px) - (x0 >> px) if x1 > x0 else 0
        high = up(y1, 1 << py) - (y0 >> py) if y1 > y0 else 0
        return (wide, high, px, py) if wide and high else (0, 0, px, py)

    def first(self, t, c, r):
        n = 0
        for q in range(r):
            w, h, _, _ = self.grid(t, c, q)
            n += w * h
        return n

    def number(self, t, c, s):
        return t + self.tiles * (c + self.comps * s)

    def precincts(self):
        """(t, c, r, precinct in its resolution, id) of all."""
        for t in range(self.tiles):
            for c in range(self.comps):
                s = 0
                for r in range(self.coding(t, c).levels + 1):
                    w, h, _, _ = self.grid(t, c, r)
                    for p in range(w * h):
                        yield t, c, r, p, self.number(t, c, s)
                        s += 1

    def blocks(self, t, c, r, p):
        """Code-blocks (wide, high) in each sub-band of a precinct."""
        w, h, px, py = self.grid(t, c, r)
        cod = self.coding(t, c)
        x0, y0, x1, y1 = self.res_box(t, c, r)
        dx, dy = self.sub[c]
        tile = self.tile_box(t)
        i, j = (x0 >> px) + p % w, (y0 >> py) + p // w
        out = []
        for xo, yo in ([(0, 0)] if r == 0 else [(1, 0), (0, 1), (1, 1)]):
            n = cod.levels - r + (1 if r else 0)
            if r == 0:
                n, bx, by = cod.levels, px, py
                band = self.res_box(t, c, 0)
            else:
                bx, by = px - 1, py - 1
                half = 1 << (n - 1)
                band = tuple(up(up(v, d) - half * o, 1 << n)
                             for v, d, o in ((tile[0], dx, xo), (tile[1], dy, yo), (tile[2], dx, xo), (tile[3], dy, yo)))
            a0, a1 = max(band[0], i << bx), min(band[2], (i + 1) << bx)
            b0, b1 = max(band[1], j << by), min(band[3], (j + 1) << by)
            if a1 <= a0 or b1 <= b0:
                out.append((0, 0))
                continue
            cx, cy = min(cod.xcb, bx), min(cod.ycb, by)
            out.append((up(a1, 1 << cx) - (a0 >> cx), up(b1, 1 << cy) - (b0 >> cy)))
        return out


class Tree:
    """A tag tree."""

    def __init__(self, w, h):
        self.levels = []
        while True:
            self.levels.append((w, [[0, False] for _ in range(w * h)]))
            if w * h <= 1:
                break
            w, h = up(w, 2), up(h, 2)

    def reach(self, bits, x, y, limit):
        """Reads on until the leaf is known or is at least limit; its value so far, and whether it is known."""
        low = 0
        for k in range(len(self.levels) - 1, -1, -1):
            w, nodes = self.levels[k]
            node = nodes[(y >> k) * w + (x >> k)]
            node[0] = max(node[0], low)
            while not node[1] and node[0] < limit:
                if bits.bit():
                    node[1] = True
                else:
                    node[0] += 1
            low = node[0]
        return low, node[1]


class Bits:
    def __init__(self, data, at):
        self.data, self.at, self.left, self.byte = data, at, 0, 0

    def bit(self):
        if not self.left:
            stuffed = self.byte == 0xFF
            self.byte = self.data[self.at]
            self.at += 1
            self.left = 7 if stuffed else 8
        self.left -= 1
        return self.byte >> self.left & 1

    def bits(self, n):
        v = 0
        for _ in range(n):
            v = v << 1 | self.bit()
        return v

    def end(self):
        if self.byte == 0xFF:
            self.at += 1
        return self.at


class Packets:
    """Reads the packets of one precinct's bin (T.800 B.10)."""

    def __init__(self, stream, t, c, r, p):
        self.cod, self.eph = stream.coding(t, c), stream.scod & 4
        self.bands = []
        for w, h in stream.blocks(t, c, r, p):
            self.bands.append((w, h, Tree(w, h), Tree(w, h), [[False, 3, 0] for _ in range(w * h)]) if w * h else None)

    def lengths(self, bits, passes, done, block):
        style = self.cod.style
        grow = 0
        while bits.bit():
            grow += 1
        block[1] += grow
        total, left = 0, passes
        while left:
            if style & 0x40:  # HT: the clean-up pass, then the rest
                n = 1 if done % 3 == 0 else left
                n = min(n, left)
            elif style & 4:
                n = 1
            elif style & 1:
                n = 10 - done if done < 10 else (2 if (done - 10) % 3 == 0 else 1)
                if done >= 10 and (done - 10) % 3 == 1:
                    n = 1
                n = min(n, left)
            else:
                n = left
            total += bits.bits(block[1] + n.bit_length() - 1)
            done += n
            left -= n
        return total

    def packet(self, data, at, layer):
        """Where the packet of that layer, which begins at `at`, ends; IndexError: the bytes are not all there."""
        bits, body = Bits(data, at), 0
        if bits.bit():
            for band in self.bands:
                if not band:
                    continue
                w, h, incl, zero, blocks = band
                for y in range(h):
                    for x in range(w):
                        b = blocks[y * w + x]
                        if b[0]:
                            inside = bits.bit()
                        else:
                            v, known = incl.reach(bits, x, y, layer + 1)
                            inside = known and v <= layer
                            if inside:
                                limit = 1
                                while not zero.reach(bits, x, y, limit)[1]:
                                    limit += 1
                                b[0] = True
                        if not inside:
                            continue
                        if not bits.bit():
                            n = 1
                        elif not bits.bit():
                            n = 2
                        else:
                            n = bits.bits(2)
                            if n < 3:
                                n += 3
                            else:
                                n = bits.bits(5)
                                n = n + 6 if n < 31 else bits.bits(7) + 37
                        body += self.lengths(bits, n, b[2], b)
                        b[2] += n
        end = bits.end()
        if self.eph:
            if data[end:end + 2] != b"\xff\x92":
                if len(data) < end + 2:
                    raise IndexError
                raise ValueError("no EPH")
            end += 2
        if end + body > len(data):
            raise IndexError
        return end + body


def split(stream, t, c, r, p, data, layers):
    """The whole packets in the first bytes of a bin."""
    reader, at, out = Packets(stream, t, c, r, p), 0, []
    for layer in range(layers):
        if at >= len(data):
            break
        try:
            end = reader.packet(data, at, layer)
        except IndexError:
            break
        out.append(data[at:end])
        at = end
    return out, at


def rebuild(cache, number=0, require=True):
    """A code-stream out of the bins of one: progression RLCP, one tile-part a tile; what is missing is empty."""
    main = cache.get(MAIN, 0, number)
    assert cache.complete(MAIN, 0, number), "the main header is not complete"
    heads = {k[2]: b.data() for k, b in cache.bins.items() if k[0] == number and k[1] == TILE_HEADER and b.complete}
    st = Stream(main, heads)
    assert main[:2] == b"\xff\x4f"

    def with_order(head, at=0):
        out, end = bytearray(head), len(head)
        while at + 2 <= end:
            m, = struct.unpack_from(">H", out, at)
            if m == 0xFF4F:
                at += 2
                continue
            if m == 0xFF52:
                out[at + 5] = 1  # RLCP
            assert m not in (0xFF5F, 0xFF55, 0xFF57, 0xFF58, 0xFF60, 0xFF61), "marker %04x should be gone" % m
            at += 2 + struct.unpack_from(">H", out, at + 2)[0]
        return bytes(out)

    by_tile = {}
    for t, c, r, p, num in st.precincts():
        by_tile.setdefault(t, []).append((t, c, r, p, num))
    out = with_order(main)
    for t in range(st.tiles):
        packets, layers = {}, st.layers_of(t)
        for (_, c, r, p, num) in by_tile.get(t, []):
            data = cache.get(PRECINCT, num, number)
            got, at = split(st, t, c, r, p, data, layers)
            if cache.complete(PRECINCT, num, number):
                assert at == len(data) and len(got) == layers, "bin %d is complete, but its packets are not" % num
            packets[c, r, p] = got
        empty = b"\0\xff\x92" if st.scod & 4 else b"\0"
        body = b""
        for r in range(max(st.coding(t, c).levels for c in range(st.comps)) + 1):
            for layer in range(layers):
                for c in range(st.comps):
                    if r > st.coding(t, c).levels:
                        continue
                    w, h, _, _ = st.grid(t, c, r)
                    for p in range(w * h):
                        got = packets[c, r, p]
                        body += got[layer] if layer < len(got) else empty
        head = with_order(heads.get(t, b""))
        out += struct.pack(">HHHIBB", 0xFF90, 10, t, 12 + len(head) + 2 + len(body), 0, 1) + head + b"\xff\x93" + body
    return out + b"\xff\xd9"


def rebuild_tiles(cache, number=0):
    """The same out of the bins of a JPT-stream."""
    main = cache.get(MAIN, 0, number)
    st = Stream(main)
    return main + b"".join(cache.get(TILE, t, number) for t in range(st.tiles)) + b"\xff\xd9"


# ---- headers as JHelioviewer reads them

def strict_head(sock):
    """Reads a response as JHelioviewer does: line by line, ": " once, the length or chunks. (headers, body)"""
    f = sock.makefile("rb")
    line = f.readline()
    assert line == b"HTTP/1.1 200 OK\r\n", line
    headers = {}
    while True:
        line = f.readline().decode("latin-1").rstrip("\r\n")
        if not line:
            break
        parts = line.split(": ")
        assert len(parts) == 2 and parts[1], "a header line it would not read: %r" % line
        headers[parts[0]] = parts[1]
    if headers.get("Transfer-Encoding") == "chunked":
        body = b""
        while True:
            n = int(f.readline().strip(), 16)
            body += f.read(n)
            assert f.readline() == b"\r\n"
            if not n:
                break
    else:
        body = f.read(int(headers["Content-Length"]))
    if headers.get("Content-Encoding") == "gzip":
        import gzip
        body = gzip.decompress(body)
    return headers, body
