# SPDX-License-Identifier: Apache-2.0
"""JPIP pictures: what a client gets is rebuilt into a code-stream by jpip_client.py and decoded by opj_decompress; the
pixels must be those of the original (spec/jpip.md 14)."""
import os
import shutil
import struct
import subprocess

import numpy as np
import pytest

import jpip_client as jc
import make_jpip
from make_jpip import ORDERS


@pytest.fixture(scope="session")
def pictures(work):
    return make_jpip.make(os.path.join(work, "jpip"))


@pytest.fixture
def jpip(serve, pictures):
    """jpip(more lines, **options of serve) -> server with the pictures at /j"""
    return lambda *lines, **opt: serve('<Location /j>\nSetHandler jpip-handler\nIIPRoot "%s"\n%s\n</Location>\n' % (
        pictures, "\n".join(lines)), **opt)


KINDS = ["%s-%s-%s.jp2" % (o.lower(), k, p) for o in ORDERS for k in ("whole", "tiled") for p in ("plt", "none")]
KINDS += ["poc.jp2", "parts.jp2", "ppm.jp2", "ppt.jp2", "marks.j2k", "sub.jp2", "offset.jp2", "gray.jp2", "lossy.jp2",
          "ht.jp2", "bare.j2k", "default.jp2"]


def decode(path, *options):
    """Planes of a picture by opj_decompress."""
    out = path + ".raw"
    run = subprocess.run(["opj_decompress", "-i", path, "-o", out, *options], capture_output=True)
    assert run.returncode == 0, run.stdout + run.stderr
    with open(out, "rb") as f:
        data = f.read()
    os.unlink(out)
    return data


def decoded(cache, folder, *options, tiles=False, number=0):
    path = os.path.join(folder, "rebuilt.j2k")
    with open(path, "wb") as f:
        f.write(jc.rebuild_tiles(cache, number) if tiles else jc.rebuild(cache, number))
    return decode(path, *options)


def frame(path):
    """(x0, y0, x1, y1) of a file's code-stream."""
    with open(path, "rb") as f:
        data = f.read()
    at = data.index(b"\xff\x4f\xff\x51")
    x1, y1, x0, y0 = struct.unpack_from(">4I", data, at + 8)
    return x0, y0, x1, y1


def size(path):
    x0, y0, x1, y1 = frame(path)
    return x1 - x0, y1 - y0


def ask(s, cache, target, headers=None):
    r = s.get(target, headers)
    assert r.status == 200, r
    ms, reason = cache.take(r.body)
    return r, ms, reason


@pytest.mark.parametrize("name", KINDS)
def test_whole(jpip, pictures, folder, name):
    """Everything in one answer: the image is done, and decodes to the same pixels."""
    s, c = jpip(), jc.Cache()
    r, ms, reason = ask(s, c, "/j/%s?fsiz=%d,%d" % ((name,) + size(pictures + "/" + name)))
    assert reason == 1 and r["Content-Type"] == "image/jpp-stream"
    st = jc.Stream(c.get(jc.MAIN), {k[2]: b.data() for k, b in c.bins.items() if k[1] == jc.TILE_HEADER})
    assert {k[2] for k in c.bins if k[1] == jc.PRECINCT} == {p[4] for p in st.precincts()}
    assert decoded(c, folder) == decode(pictures + "/" + name)


@pytest.mark.parametrize("order", [o.lower() for o in ORDERS])
@pytest.mark.parametrize("kind", ["whole", "tiled"])
def test_plt_changes_nothing(jpip, order, kind):
    """With and without PLT, and in every progression: the same answer byte for byte but for headers that differ."""
    s, bodies = jpip(), []
    for plt in ("plt", "none"):
        c = jc.Cache()
        _, ms, _ = ask(s, c, "/j/%s-%s-%s.jp2?fsiz=187,141&roff=31,17&rsiz=60,40&layers=2" % (order, kind, plt))
        bodies.append([(m.cls, m.num, m.off, m.body) for m in ms if m.cls != jc.META])
    assert bodies[0] == bodies[1]


def planes(get, boxes, d):
    """Arrays of the components, each decoded alone: three of which two are sub-sampled the tool would turn into RGB."""
    return [np.frombuffer(get("-r", str(d), "-c", str(i)), np.uint8).reshape(y1 - y0, x1 - x0)
            for i, (x0, y0, x1, y1) in enumerate(boxes)]


@pytest.mark.parametrize("name", ["rpcl-whole-plt.jp2", "lrcp-tiled-none.jp2", "offset.jp2", "lossy.jp2", "gray.jp2", "ht.jp2",
                                  "cprl-whole-none.jp2", "ppt.jp2", "ppm.jp2", "poc.jp2", "sub.jp2", "pcrl-tiled-plt.jp2", "rlcp-whole-none.jp2"])
def test_regions(jpip, pictures, folder, name):
    """A region at each resolution has exactly the pixels of the whole picture there."""
    s, path = jpip(), pictures + "/" + name
    x0, y0, x1, y1 = frame(path)
    up = lambda v, d: -(-v // d)
    with open(path, "rb") as f:
        data = f.read()
    data = data[data.index(b"\xff\x4f\xff\x51"):]
    sub = jc.Stream(data[:data.index(b"\xff\x90")]).sub
    for d in range(4):
        level = lambda v, by: up(up(v, by), 1 << d)
        boxes = [(level(x0, dx), level(y0, dy), level(x1, dx), level(y1, dy)) for dx, dy in sub]
        fx, fy = up(x0, 1 << d), up(y0, 1 << d)
        fw, fh = up(x1, 1 << d) - fx, up(y1, 1 << d) - fy
        want = planes(lambda *o: decode(path, *o), boxes, d)
        for ox, oy, w, h in ((0.1, 0.2, 0.3, 0.3), (0.45, 0.5, 0.1, 0.02), (0.6, 0.1, 0.4, 0.9), (0.99, 0.99, 0.01, 0.01)):
            a, b = int(ox * fw), int(oy * fh)
            w, h = max(1, int(w * fw)), max(1, int(h * fh))
            c = jc.Cache()
            r, ms, reason = ask(s, c, "/j/%s?fsiz=%d,%d&roff=%d,%d&rsiz=%d,%d" % (name, fw, fh, a, b, w, h))
            assert reason in (1, 2) and not r["JPIP-fsiz"] and not r["JPIP-roff"] and not r["JPIP-rsiz"]
            got = planes(lambda *o: decoded(c, folder, *o), boxes, d)
            for p, q, box, (dx, dy) in zip(got, want, boxes, sub):
                left, top = max(box[0], up(fx + a, dx)) - box[0], max(box[1], up(fy + b, dy)) - box[1]
                right, low = up(fx + a + w, dx) - box[0], up(fy + b + h, dy) - box[1]
                assert (p[top:low, left:right] == q[top:low, left:right]).all(), (d, a, b, w, h)


@pytest.mark.parametrize("name", ["rpcl-whole-none.jp2", "lrcp-tiled-plt.jp2", "lossy.jp2", "ppm.jp2", "poc.jp2"])
def test_layers(jpip, pictures, folder, name):
    """1..n layers are those of the decoder; the last one completes the picture."""
    s = jpip()
    for n in (1, 2, 3):
        c = jc.Cache()
        r, ms, reason = ask(s, c, "/j/%s?fsiz=187,141&layers=%d" % (name, n))
        assert reason == (1 if n == 3 else 2)
        assert decoded(c, folder) == decode(pictures + "/" + name, "-l", str(n))
    r, ms, reason = ask(s, jc.Cache(), "/j/%s?fsiz=187,141&layers=9" % name)
    assert r["JPIP-layers"] == "3" and reason == 1
    r, ms, reason = ask(s, jc.Cache(), "/j/%s?fsiz=187,141&layers=0" % name)
    assert not [m for m in ms if m.cls == jc.PRECINCT] and [m for m in ms if m.cls == jc.TILE_HEADER] and reason == 2


def test_quality(jpip):
    s = jpip()
    for quality, layers in ((0, 0), (33, 1), (34, 2), (67, 3), (100, 3)):
        c, want = jc.Cache(), jc.Cache()
        r, _, reason = ask(s, c, "/j/rpcl-whole-plt.jp2?fsiz=187,141&quality=%d" % quality)
        ask(s, want, "/j/rpcl-whole-plt.jp2?fsiz=187,141&layers=%d" % layers)
        assert r["JPIP-quality"] == str(quality) and reason == (5 if layers < 3 else 1)
        assert {k: b.data() for k, b in c.bins.items()} == {k: b.data() for k, b in want.bins.items()}


@pytest.mark.parametrize("kind", ["jpt-stream", "image/jpt-stream"])
@pytest.mark.parametrize("name", ["parts.jp2", "rpcl-tiled-none.jp2", "lrcp-whole-plt.jp2", "ppm.jp2", "ppt.jp2", "poc.jp2"])
def test_tiles(jpip, pictures, folder, name, kind):
    """A JPT-stream is the file's own tile-parts."""
    s, c = jpip(), jc.Cache()
    r, ms, reason = ask(s, c, "/j/%s?type=%s&fsiz=187,141" % (name, kind))
    assert r["Content-Type"] == "image/jpt-stream" and reason == 1
    assert decoded(c, folder, tiles=True) == decode(pictures + "/" + name)


def with_sot(body):
    """A JPP-stream with the tile header bins as OpenJPIP's server makes them and its client reads past the end without: SOT
    but for its marker, which the standard keeps out of them, and SOD."""
    out, at = b"", 0
    for m in jc.messages(body)[0]:
        data = m.body
        if m.cls == jc.TILE_HEADER:
            assert (m.off, m.last, m.header[-1]) == (0, True, len(data)), "a short bin in one piece"
            data = struct.pack(">HHIBB", 10, m.num, 0, 0, 1) + data + b"\xff\x93"
            out += m.header[:-1] + bytes([len(data)]) + data
        else:
            out += m.header + data
        at += len(m.header) + len(m.body)
    return out + body[at:]


@pytest.mark.skipif(not shutil.which("opj_jpip_transcode"), reason="no libopenjpip-server")
@pytest.mark.parametrize("kind, name", [
    *(("jpt", n) for n in ("rpcl-whole-plt.jp2", "lrcp-tiled-none.jp2", "parts.jp2", "bare.j2k")),
    *(("jpp", n) for n in ("rpcl-whole-plt.jp2", "lrcp-tiled-none.jp2", "rlcp-tiled-plt.jp2", "pcrl-whole-none.jp2",
                           "cprl-whole-plt.jp2", "gray.jp2", "lossy.jp2", "poc.jp2"))])
def test_openjpip(jpip, pictures, folder, kind, name):
    """OpenJPIP's own client side takes our streams. (From a JPP-stream it rebuilds no picture without precincts in COD, with
    sub-sampling, an offset or CAP, nor PCRL and CPRL whose resolutions differ in their number of precincts.)"""
    r = jpip().get("/j/%s?type=%s-stream&stream=0&fsiz=%d,%d" % ((name, kind) + size(pictures + "/" + name)))
    with open(folder + "/a.jpip", "wb") as f:
        f.write(r.body if kind == "jpt" else with_sot(r.body))
    subprocess.run(["opj_jpip_transcode", folder + "/a.jpip", folder + "/out.j2k"], check=True, capture_output=True)
    assert decode(folder + "/out.j2k") == decode(pictures + "/" + name)


def test_tile_parts_of_a_resolution(jpip, pictures, folder):
    """Tile-parts above the window's resolution stay away, and the rest decodes at it."""
    s, c = jpip(), jc.Cache()
    _, _, reason = ask(s, c, "/j/parts.jp2?type=jpt-stream&fsiz=47,36")
    assert reason == 2
    sent = sum(len(b.data()) for k, b in c.bins.items() if k[1] == jc.TILE)
    assert 0 < sent < os.path.getsize(pictures + "/parts.jp2") / 4
    assert not any(b.complete for k, b in c.bins.items() if k[1] == jc.TILE)
    r = s.get("/j/parts.jp2?type=jpt-stream&fsiz=187,141&model=" + c.model())
    assert r.status == 200 and c.take(r.body)[1] == 1 and c.doubled == 0
    assert decoded(c, folder, tiles=True) == decode(pictures + "/parts.jp2")


def test_extended_precincts(jpip):
    """ptype=ext: the same bins, and Aux counts the whole layers."""
    s, plain, ext = jpip(), jc.Cache(), jc.Cache()
    ask(s, plain, "/j/rpcl-whole-plt.jp2?fsiz=187,141")
    r = s.get("/j/rpcl-whole-plt.jp2?fsiz=187,141&type=jpp-stream;ptype=ext")
    ms, _ = ext.take(r.body)
    assert {k: b.data() for k, b in plain.bins.items()} == {k: b.data() for k, b in ext.bins.items()}
    st = jc.Stream(ext.get(jc.MAIN))
    who = {p[4]: p for p in st.precincts()}
    for m in ms:
        if m.cls == 1:
            t, c, res, p, num = who[m.num]
            data = ext.get(jc.PRECINCT, num)
            assert m.aux == len(jc.split(st, t, c, res, p, data[:m.off + len(m.body)], 3)[0])
    assert {m.cls for m in ms} == {8, 6, 2, 1}


def test_components(jpip, pictures, folder):
    """Of components that no transform mixes one alone can be had; else all three come."""
    s, c = jpip(), jc.Cache()
    r, ms, _ = ask(s, c, "/j/sub.jp2?fsiz=187,141&comps=0")
    st = jc.Stream(c.get(jc.MAIN))
    who = {p[4]: p[1] for p in st.precincts()}
    assert {who[m.num] for m in ms if m.cls == jc.PRECINCT} == {0} and not r["JPIP-comps"]
    assert decoded(c, folder, "-c", "0") == decode(pictures + "/sub.jp2", "-c", "0")
    r, ms, _ = ask(s, jc.Cache(), "/j/rpcl-whole-plt.jp2?fsiz=187,141&comps=1")
    assert r["JPIP-comps"] == "0-2"


def test_no_frame_no_packets(jpip):
    """Without fsiz: metadata, and the main header if a code-stream is named."""
    s = jpip()
    _, ms, reason = ask(s, jc.Cache(), "/j/gray.jp2")
    assert [m.cls for m in ms] == [jc.META] and reason == 2
    _, ms, reason = ask(s, jc.Cache(), "/j/gray.jp2?stream=0")
    assert [m.cls for m in ms] == [jc.META, jc.MAIN] and reason == 2
    r = s.get("/j/bare.j2k")
    assert r.body == bytes.fromhex("7008000000") + bytes.fromhex("000200")


@pytest.mark.parametrize("name", ["rpcl-whole-plt.jp2", "lrcp-tiled-none.jp2"])
def test_frames(jpip, name):
    """round-down, round-up and closest choose among the sizes that are there (4.1)."""
    s = jpip()
    sizes = [(-(-187 // (1 << d)), -(-141 // (1 << d))) for d in range(5)][:5 if "whole" in name else 4]
    for fx, fy in ((187, 141), (186, 141), (100, 80), (94, 71), (93, 71), (1, 1), (5000, 5000), (1000, 10)):
        down = next((z for z in sizes if z[0] <= fx and z[1] <= fy), sizes[-1])
        up = next((z for z in reversed(sizes) if z[0] >= fx and z[1] >= fy), sizes[0])
        near = min(sizes, key=lambda z: (abs(z[0] * z[1] - fx * fy), -z[0]))
        for word, want in (("", down), (",round-down", down), (",round-up", up), (",closest", near)):
            r = s.get("/j/%s?fsiz=%d,%d%s&layers=0" % (name, fx, fy, word))
            assert (r["JPIP-fsiz"] or "%d,%d" % (fx, fy)) == "%d,%d" % want, (fx, fy, word)


def test_stateless_with_model(jpip, pictures, folder):
    """Nothing of what the client names is sent again; whatever it names by parts goes on there."""
    s, c = jpip(), jc.Cache()
    r = s.get("/j/lrcp-whole-none.jp2?fsiz=187,141&len=3000")
    assert c.take(r.body)[1] == 4
    n = 0
    while True:
        n += 1
        body = "fsiz=187,141&len=%d&model=%s" % (4000 + 100 * n, c.model())
        r = s.request("POST", "/j/lrcp-whole-none.jp2", None, body.encode())
        assert r.status == 200, r
        assert len(r.body) <= 4003 + 100 * n
        if c.take(r.body)[1] != 4:
            break
    assert n > 5 and c.doubled == 0
    assert decoded(c, folder) == decode(pictures + "/lrcp-whole-none.jp2")


def test_model_items(jpip):
    """Each form of an item, by what is then left out."""
    s, c = jpip(), jc.Cache()
    base = "/j/rpcl-whole-plt.jp2?fsiz=187,141"
    ask(s, c, base)
    st = jc.Stream(c.get(jc.MAIN))
    who = {p[4]: p for p in st.precincts()}

    def sent(model):
        r = s.get(base + "&model=" + model)
        assert r.status == 200, r
        ms, _ = jc.messages(r.body)
        out = {}
        for m in ms:
            out.setdefault((m.cls, m.num), m.off)
        return out

    everything = sent("M9")
    assert (6, 0) in everything and (2, 0) in everything and (8, 0) in everything
    assert (6, 0) not in sent("Hm") and (2, 0) not in sent("H0") and (8, 0) not in sent("M0")
    assert (2, 0) not in sent("H*") and not [k for k in sent("P*") if k[0] == 0]
    assert not [k for k in sent("[0]*") if k[0] != 8]
    assert sent("*,-P5").keys() == {(8, 0), (0, 5)}
    assert sent("*,-P5:3")[0, 5] == 3
    assert sent("P7:11")[0, 7] == 11 and sent("P3-5").keys() == everything.keys() - {(0, 3), (0, 4), (0, 5)}
    assert sent("P1:L1")[0, 1] == len(jc.split(st, *who[1][:4], c.get(jc.PRECINCT, 1), 1)[0][0])
    low = {(0, n) for n, p in who.items() if p[2] <= 1}
    assert everything.keys() - sent("r0-1").keys() == low
    one = {(0, n) for n, p in who.items() if p[1] == 1 and p[2] == 2 and p[3] == 3}
    assert everything.keys() - sent("t0c1r2p3").keys() == one and len(one) == 1
    assert everything.keys() - sent("c2").keys() == {(0, n) for n, p in who.items() if p[1] == 2}
    assert sent("t*c*r*p*,-r0").keys() == {k for k in everything if k[0] != 0} | {(0, n) for n, p in who.items() if p[2] == 0}
    assert sent("P99999999,P1152921504606846976,T3,[7]Hm") == everything
    assert (6, 0) in sent("[7]Hm,P1") and (6, 0) not in sent("[0-9]Hm") and (6, 0) not in sent("%5B0%5DHm")
    for bad in ("P", "Q3", "Hm:", "[0", "P1,", "P1:Lx", "P5-3", "x", "-", "[a]P1"):
        r = s.get(base + "&model=" + bad)
        assert (r.status, r.error) == (400, "syntax") and b"model" in r.body, bad


def test_need(jpip):
    """Only what is named is sent."""
    s, c = jpip(), jc.Cache()
    ask(s, c, "/j/rpcl-whole-plt.jp2?fsiz=187,141")
    base = "/j/rpcl-whole-plt.jp2?fsiz=187,141&need="
    low = {(0, p[4]) for p in jc.Stream(c.get(jc.MAIN)).precincts() if p[2] == 0}
    for need, want in (("Hm", {(6, 0)}), ("P3,P9", {(0, 3), (0, 9)}), ("M0,H0", {(8, 0), (2, 0)}), ("r0", low)):
        r = s.get(base + need)
        ms, reason = jc.messages(r.body)
        assert reason == 2 and {(m.cls, m.num) for m in ms} == want, need
    ms, _ = jc.messages(s.get(base + "P3:4").body)
    assert sum(len(m.body) for m in ms) == 4 and not any(m.last for m in ms)
    ms, _ = jc.messages(s.get(base + "P3&model=P3:4").body)
    assert {m.num for m in ms} == {3} and ms[0].off == 4


def test_len(jpip):
    """Never more than len and the end; 64 and more always bring something."""
    s = jpip()
    assert s.get("/j/gray.jp2?fsiz=187,141&len=0").body == b"\0\4\0"
    for n in list(range(1, 200, 7)) + [1000, 5000]:
        r = s.get("/j/gray.jp2?fsiz=187,141&len=%d" % n)
        ms, reason = jc.messages(r.body)
        assert len(r.body) <= n + 3 and reason == 4 and (ms or n < 64), n
        assert r["Content-Length"] == str(len(r.body))


def test_align(jpip):
    """align=yes: a message ends where a packet does."""
    s, c = jpip(), jc.Cache()
    ask(s, c, "/j/rpcl-whole-plt.jp2?fsiz=187,141")
    st = jc.Stream(c.get(jc.MAIN))
    who = {p[4]: p for p in st.precincts()}
    for n in (2000, 3333, 7777):
        r = s.get("/j/rpcl-whole-plt.jp2?fsiz=187,141&align=yes&len=%d" % n)
        for m in jc.messages(r.body)[0]:
            if m.cls == 0:
                data = c.get(0, m.num)[:m.off + len(m.body)]
                assert jc.split(st, *who[m.num][:4], data, 3)[1] == len(data)


def test_response_limit(jpip):
    """JPIPMaxResponse cuts with its own reason, and says so when len is above it."""
    s, c = jpip("JPIPMaxResponse 10000"), jc.Cache()
    r, _, reason = ask(s, c, "/j/rpcl-whole-plt.jp2?fsiz=187,141")
    assert reason == 7 and 9000 < len(r.body) <= 10003 and not r["JPIP-len"]
    r = s.get("/j/rpcl-whole-plt.jp2?fsiz=187,141&len=20000")
    assert r["JPIP-len"] == "10000" and jc.messages(r.body)[1] == 7


def test_cut_file(jpip):
    """A file that is still being uploaded: whole packets, no bin marked complete that is not, the window done."""
    s, c, all_ = jpip(), jc.Cache(), jc.Cache()
    _, _, reason = ask(s, c, "/j/cut.jp2?fsiz=187,141")
    ask(s, all_, "/j/rpcl-whole-none.jp2?fsiz=187,141")
    assert reason == 2
    for key, b in c.bins.items():
        if key[1] == jc.PRECINCT:
            whole = all_.bins[key].data()
            assert whole.startswith(b.data()) and (not b.complete or b.data() == whole)
    assert sum(len(b.data()) for k, b in c.bins.items() if k[1] == jc.PRECINCT) > 20000
