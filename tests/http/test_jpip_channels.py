# SPDX-License-Identifier: Apache-2.0
"""JPIP channels, movies, metadata (spec/jpip.md 5 to 10). Bad input: test_jpip_bad.py, clients: test_jpip_clients.py."""
import gzip
import os
import re
import shutil
import struct
import subprocess
import threading
import time

import pytest

import jpip_client as jc
import make_jpip
from common import refused
from test_jpip import decode, decoded, pictures  # noqa: F401

CID = re.compile(r"cid=([A-Za-z0-9_-]{22}),path=([^,]*),transport=http")


@pytest.fixture
def jpip(serve, pictures):  # noqa: F811
    return lambda *lines, **opt: serve('%s<Location /j>\nSetHandler jpip-handler\nIIPRoot "%s"\n%s\n</Location>\n' % (
        opt.pop("before", ""), pictures, "\n".join(lines)), **opt)


def opened(r):
    assert r.status == 200, r
    cid, path = CID.fullmatch(r["JPIP-cnew"]).groups()
    return cid, "/" + path


# ---- channels

@pytest.mark.any_mpm
@pytest.mark.parametrize("name", ["rpcl-whole-plt.jp2", "lrcp-tiled-none.jp2"])
def test_eight_sockets(jpip, pictures, folder, mpm, name):  # noqa: F811
    """The requests of one channel over 8 sockets, and so over children: no byte twice, none missing."""
    s, c = jpip(children=9 if mpm == "prefork" else 3), jc.Cache()
    socks = [s.connect() for _ in range(8)]
    r = socks[0].request("GET", "/j/%s?cnew=http&tid=0&len=200" % name)
    cid, path = opened(r)
    tid = r["JPIP-tid"]
    assert re.fullmatch("[0-9a-f]{16}", tid) and r["Cache-Control"] == "no-cache, no-store" and not r["ETag"]
    c.take(r.body)
    for n in range(1, 1000):
        r = socks[n % 8].request("GET", "%s?cid=%s&fsiz=187,141&len=%d&qid=%d" % (path, cid, 64 + 13 * n, n))
        assert r.status == 200 and not r["JPIP-cnew"] and r["JPIP-qid"] == str(n), r
        _, reason = c.take(r.body)
        assert len(r.body) <= 64 + 13 * n + 3
        if reason != 4:
            break
    assert reason == 1 and c.doubled == 0 and n > 20
    assert decoded(c, folder) == decode(pictures + "/" + name)
    r = socks[3].request("GET", "%s?cid=%s&fsiz=187,141" % (path, cid))
    assert r.body == b"\0\1\0"
    r = socks[4].request("GET", "%s?cclose=*&cid=%s" % (path, cid))
    assert r.status == 200
    refused(socks[5].request("GET", "%s?cid=%s&fsiz=187,141" % (path, cid)), 503, "busy")
    [x.close() for x in socks]


def test_sister_channels(jpip):
    """cnew with cid opens another channel of the session; cclose of one leaves the other, cclose=* takes both."""
    s = jpip()
    one, path = opened(s.get("/j/gray.jp2?cnew=http"))
    two, _ = opened(s.get("%s?cid=%s&cnew=http" % (path, one)))
    three, _ = opened(s.get("%s?cid=%s&cnew=http" % (path, two)))
    assert len({one, two, three}) == 3
    alive = lambda cid: s.get("%s?cid=%s&len=0" % (path, cid)).status
    assert [alive(x) for x in (one, two, three)] == [200] * 3
    assert s.get("%s?cid=%s&cclose=%s&len=0" % (path, one, three)).status == 200
    assert [alive(x) for x in (one, two, three)] == [200, 200, 503]
    stranger, _ = opened(s.get("/j/gray.jp2?cnew=http"))
    assert s.get("%s?cid=%s&cclose=%s&len=0" % (path, one, stranger)).status == 200
    assert alive(stranger) == 200
    assert s.get("%s?cid=%s&cclose=*&len=0" % (path, two)).status == 200
    assert [alive(x) for x in (one, two)] == [503, 503] and alive(stranger) == 200


def test_transports(jpip):
    """cnew without http is answered without a channel."""
    s = jpip()
    assert opened(s.get("/j/gray.jp2?cnew=http-tcp,http"))
    for other in ("http-tcp", "http-udp", ""):
        r = s.get("/j/gray.jp2?cnew=" + other)
        assert r.status == 200 and not r["JPIP-cnew"]
    assert not s.head_of("/j/gray.jp2?cnew=http")["JPIP-cnew"]


def test_no_field_of_before_holds(jpip):
    """Each request says all of its window; target and type are the channel's."""
    s = jpip()
    cid, path = opened(s.get("/j/rpcl-whole-plt.jp2?cnew=http&fsiz=12,9&type=jpt-stream&stream=0"))
    r = s.get("%s?cid=%s" % (path, cid))
    assert r["Content-Type"] == "image/jpt-stream" and jc.messages(r.body)[1] == 2
    refused(s.get("%s?cid=%s&type=jpp-stream" % (path, cid)), 400, "syntax")
    refused(s.get("%s?cid=%s&target=gray.jp2" % (path, cid)), 400, "syntax")
    assert s.get("/j?cid=%s&target=rpcl-whole-plt.jp2" % cid).status == 200
    assert s.get("/j/rpcl-whole-plt.jp2?cid=%s" % cid).status == 200


def test_model_in_a_channel(jpip, pictures, folder):  # noqa: F811
    """Subtractive items bring bins back; additive ones spare them; mset forgets other code-streams; 400 changes nothing."""
    s, c = jpip(), jc.Cache()
    cid, path = opened(s.get("/j/rpcl-whole-plt.jp2?cnew=http"))
    ask = lambda q: jc.messages(s.get("%s?cid=%s&%s" % (path, cid, q)).body)
    c.take(s.get("%s?cid=%s&fsiz=187,141" % (path, cid)).body)
    ms, reason = ask("fsiz=187,141&model=-P3,-Hm")
    assert {(m.cls, m.num) for m in ms} == {(0, 3), (6, 0)} and reason == 1
    assert ask("fsiz=187,141") == ([], 1)
    assert s.get("%s?cid=%s&model=-P3,Q" % (path, cid)).status == 400
    assert ask("fsiz=187,141") == ([], 1)
    ms, _ = ask("fsiz=187,141&model=-*,P*,Hm")
    assert {(m.cls, m.num) for m in ms} == {(2, 0)}
    r = s.get("%s?cid=%s&mset=1-4&fsiz=187,141" % (path, cid))
    assert r["JPIP-mset"] == "1-4" and len(jc.messages(r.body)[0]) > 100
    r = s.get("%s?cid=%s&tid=other&model=-P*&fsiz=187,141" % (path, cid))
    assert r["JPIP-tid"] and jc.messages(r.body) == ([], 1)


def test_timeout(jpip):
    s = jpip("JPIPTimeout 1s")
    cid, path = opened(s.get("/j/gray.jp2?cnew=http"))
    for _ in range(3):
        time.sleep(0.6)
        assert s.get("%s?cid=%s&len=0" % (path, cid)).status == 200
    time.sleep(2.2)
    refused(s.get("%s?cid=%s&len=0" % (path, cid)), 503)


def test_changed_file(jpip, folder, pictures, serve):  # noqa: F811
    """A file that was replaced ends the channel with reason 6; a new channel has another tid."""
    shutil.copy(pictures + "/gray.jp2", folder + "/a.jp2")
    s = serve('<Location /k>\nSetHandler jpip-handler\nIIPRoot "%s"\n</Location>\n' % folder)
    r = s.get("/k/a.jp2?cnew=http&fsiz=187,141")
    cid, path = opened(r)
    shutil.copy(pictures + "/rpcl-whole-plt.jp2", folder + "/b.jp2")
    os.rename(folder + "/b.jp2", folder + "/a.jp2")
    again = s.get("%s?cid=%s&fsiz=187,141&tid=0" % (path, cid))
    assert again.body == b"\0\6\0" and again["JPIP-tid"] != r["JPIP-tid"]
    refused(s.get("%s?cid=%s&fsiz=187,141" % (path, cid)), 503)


def test_changed_link(serve, folder, pictures):  # noqa: F811
    """So does a linked file of which the client has bytes; other frames' files may change."""
    frames = [make_jpip.codestream("%s/frames/%d.jp2" % (pictures, i)) for i in range(3)]
    for i in range(3):
        shutil.copy("%s/frames/%d.jp2" % (pictures, i), folder)
    with open(folder + "/m.jpx", "wb") as f:
        f.write(make_jpip.jpx(b"", [make_jpip.link(at, len(data), i + 1) for i, (data, at) in enumerate(frames)],
                              ["%d.jp2" % i for i in range(3)]))
    s = serve('<Location /k>\nSetHandler jpip-handler\nIIPRoot "%s"\n</Location>\n' % folder)
    ask = lambda n: s.get("%s?cid=%s&fsiz=96,80&stream=%d" % (path, cid, n))
    cid, path = opened(s.get("/k/m.jpx?cnew=http&fsiz=96,80"))
    assert ask(0).body == b"\0\2\0" and len(ask(1).body) > 1000
    shutil.copy(folder + "/2.jp2", folder + "/new.jp2")
    os.rename(folder + "/new.jp2", folder + "/2.jp2")
    assert len(ask(2).body) > 1000 and ask(0).body == b"\0\2\0"
    shutil.copy(folder + "/1.jp2", folder + "/new.jp2")
    os.rename(folder + "/new.jp2", folder + "/1.jp2")
    assert ask(1).body == b"\0\6\0"
    refused(ask(0), 503)


@pytest.mark.any_mpm
def test_cancelled(serve, folder):
    """A newer request makes the older one end with reason 3; with wait=yes it is heard to its end. Nothing is lost."""
    px = make_jpip.picture(1600, 1600)
    make_jpip.opj(px, folder + "/big.jp2", "-r", "1", "-n", "6", "-c", "[64,64]")
    s = serve('SendBufferSize 8192\n<Location /k>\nSetHandler jpip-handler\nIIPRoot "%s"\n</Location>\n' % folder, children=2, fresh=True)
    for wait in ("no", "yes"):
        cid, path = opened(s.get("/k/big.jp2?cnew=http"))
        c, slow = jc.Cache(), s.connect()
        slow.sock.setsockopt(6, 10, 4096)
        slow.send("GET", "%s?cid=%s&fsiz=1600,1600" % (path, cid), keep=True)
        time.sleep(0.5)  # its answer fills the socket and waits
        late = []
        t = threading.Thread(target=lambda: late.append(s.get("%s?cid=%s&fsiz=100,100&wait=%s" % (path, cid, wait), timeout=60)))
        t.start()
        time.sleep(0.4)
        first = slow.receive()
        t.join()
        slow.close()
        assert first.status == 200 and not first.broken and late[0].status == 200
        reason = c.take(first.body)[1]
        assert reason == (3 if wait == "no" else 1), reason
        c.take(late[0].body)
        if reason == 3:
            while c.take(s.get("%s?cid=%s&fsiz=1600,1600" % (path, cid)).body)[1] != 1:
                pass
        assert c.doubled == 0 and len(first.body) > 100000
        assert decoded(c, folder) == decode(folder + "/big.jp2")


def test_client_gone(serve, folder):
    """Who hung up in the middle gets it all again."""
    make_jpip.opj(make_jpip.picture(1600, 1600), folder + "/big.jp2", "-r", "1", "-n", "6", "-c", "[64,64]")
    s = serve('SendBufferSize 8192\n<Location /k>\nSetHandler jpip-handler\nIIPRoot "%s"\n</Location>\n' % folder, fresh=True)
    cid, path = opened(s.get("/k/big.jp2?cnew=http"))
    slow = s.connect()
    slow.send("GET", "%s?cid=%s&fsiz=1600,1600" % (path, cid))
    slow.sock.recv(1000)
    slow.reset()
    c = jc.Cache()
    assert c.take(s.get("%s?cid=%s&fsiz=1600,1600&wait=yes&model=-M*" % (path, cid)).body)[1] == 1
    assert decoded(c, folder) == decode(folder + "/big.jp2")


@pytest.mark.log("IIP0117")
def test_overwritten(serve, folder):
    """A file written to while it is sent: the client sees that its answer is broken, and the channel is not told of it."""
    make_jpip.opj(make_jpip.picture(1600, 1600), folder + "/big.jp2", "-r", "1", "-n", "6", "-c", "[64,64]")
    s = serve('SendBufferSize 8192\n<Location /k>\nSetHandler jpip-handler\nIIPRoot "%s"\n</Location>\n' % folder, fresh=True)
    slow = s.connect()
    slow.send("GET", "/k/big.jp2?fsiz=1600,1600", keep=True)
    time.sleep(0.5)
    with open(folder + "/big.jp2", "r+b") as f:
        f.seek(-1, 2)
        f.write(b"\xd9")
    r = slow.receive()
    assert r.status == 200 and r.broken and len(r.body) > 100000


def test_guessed(jpip):
    s = jpip()
    for cid in ("A" * 22, "x", "../../../../etc/passwd", "A" * 300, "%00", "A" * 21 + "*"):
        r = s.get("/j/gray.jp2?cid=%s" % cid)
        assert r.status in (400, 503) and r.error in ("syntax", "busy"), r
    refused(s.get("/j/gray.jp2?cid=" + "A" * 22), 503, "busy")


def test_full_store(jpip):
    """A store that is full drops the oldest channels, and never an answer."""
    s = jpip(before="JPIPSessions shmcb:run/small(65536)\n", fresh=True)
    cids = [opened(s.get("/j/rpcl-whole-plt.jp2?cnew=http&fsiz=187,141"))[0] for _ in range(300)]
    alive = [s.get("/j?cid=%s&len=0" % c).status for c in cids]
    assert set(alive) <= {200, 503} and alive[-1] == 200 and alive.count(503) > 10


@pytest.mark.log("IIP0005")
def test_without_a_store(folder, farm, pictures):  # noqa: F811
    """No provider: stateless answers, no JPIP-cnew, and one warning."""
    import httpd
    kept = httpd.MODULES[:]
    httpd.MODULES.remove("socache_shmcb")
    try:
        s = httpd.Server(farm.work, farm.mpm, '<Location /j>\nSetHandler jpip-handler\nIIPRoot "%s"\n</Location>\n' % pictures,
                         **farm.options({})).start()
        r = s.get("/j/gray.jp2?cnew=http&fsiz=187,141")
        assert r.status == 200 and not r["JPIP-cnew"] and jc.messages(r.body)[1] == 1
        refused(s.get("/j/gray.jp2?cid=" + "A" * 22), 503, "busy")
        assert len(s.complaints(["IIP0005"])) == 0 and s.logtext().count("IIP0005") == 1
        s.stop()
    finally:
        httpd.MODULES[:] = kept


PROVIDERS = {"memcache": ("memcached", lambda port: ["memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", str(port)]),
             "redis": ("redis-server", lambda port: ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""])}


@pytest.mark.parametrize("kind", sorted(PROVIDERS))
def test_other_stores(jpip, pictures, folder, kind):  # noqa: F811
    """A channel in memcached or redis is that of two servers at once: its requests alternate between them."""
    import httpd
    tool, command = PROVIDERS[kind]
    if not shutil.which(tool) or not os.path.exists("%s/mod_socache_%s.so" % (httpd.modules_dir(), kind)):
        pytest.skip("no " + tool)
    port = httpd.free_port()
    p = subprocess.Popen(command(port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder)
    try:
        time.sleep(1)
        line = "JPIPSessions %s:127.0.0.1:%d\n" % (kind, port)
        two = [jpip(before=line + "# %d\n" % i, modules=("socache_" + kind,), fresh=True) for i in range(2)]
        c = jc.Cache()
        r = two[0].get("/j/rpcl-whole-none.jp2?cnew=http&len=500")
        cid, path = opened(r)
        c.take(r.body)
        for n in range(1, 200):
            r = two[n % 2].get("%s?cid=%s&fsiz=187,141&len=3000" % (path, cid))
            if c.take(r.body)[1] != 4:
                break
        assert c.doubled == 0 and n > 10
        assert decoded(c, folder) == decode(pictures + "/rpcl-whole-none.jp2")
        assert two[0].get("%s?cid=%s&cclose=%s&len=0" % (path, cid, cid)).status == 200
        assert two[1].get("%s?cid=%s&len=0" % (path, cid)).status == 503
    finally:
        p.terminate()
        p.wait()


# ---- metadata

def test_metadata_bins(jpip, pictures):  # noqa: F811
    """Small boxes are in bin 0, large ones behind placeholders; the bins together are the file's boxes again."""
    s, c = jpip(), jc.Cache()
    r = s.get("/j/boxes.jp2?metareq=[*]!!")
    assert c.take(r.body)[1] == 2 and not [k for k in c.bins if k[1] != jc.META]
    with open(pictures + "/boxes.jp2", "rb") as f:
        data = f.read()
    out, at, top = b"", 0, c.get(jc.META)
    while at < len(top):
        n, name = struct.unpack_from(">I4s", top, at)
        if name == b"phld":
            flags, num, head, _, _, stream = struct.unpack_from(">IQ8sQQQ", top, at + 8)
            assert n == 52 and flags in (1, 4)
            if flags == 1:
                assert c.complete(jc.META, num)
                out += head + c.get(jc.META, num)
            else:
                assert stream == 0 and head[4:] == b"jp2c"
                out += head + data[len(out) + 8:]
        else:
            out += top[at:at + n]
        at += n
    assert out == data and len(c.bins) == 3
    # types
    ms, _ = jc.messages(s.get("/j/boxes.jp2?metareq=[uuid]!!").body)
    assert {m.num for m in ms} == {0, 2}
    ms, _ = jc.messages(s.get("/j/boxes.jp2?metareq=[xml_:r/w!;jp2h]R1D2,[abcd]").body)
    assert {m.num for m in ms} == {0, 1}
    ms, _ = jc.messages(s.get("/j/embedded.jpx?metareq=[xml_]!!").body)
    assert {m.num for m in ms} == {0, 1}, "inside an asoc"
    ms, _ = jc.messages(s.get("/j/embedded.jpx?metareq=[xml_]D0!!").body)
    assert {m.num for m in ms} == {0}
    ms, _ = jc.messages(s.get("/j/boxes.jp2").body)
    assert {m.num for m in ms} == {0}, "stateless: bin 0 only"
    for bad in ("[", "[xml]", "[xml_", "xml_", "[xml_]X", "[*]!", "[]", "[*],"):
        refused(s.get("/j/boxes.jp2?metareq=" + bad), 400, "syntax")


def test_metadata_is_due_in_a_channel(jpip):
    """The first answer of a channel brings all of it, behind the main header; what was cut off comes later."""
    s = jpip()
    r = s.get("/j/boxes.jp2?cnew=http&stream=0&fsiz=1,1,closest")
    ms, reason = jc.messages(r.body)
    assert {m.num for m in ms if m.cls == 8} == {0, 1, 2} and reason == 2
    order = [m.cls for m in ms]
    assert order.index(6) < order.index(8, 1)
    c = jc.Cache()
    r = s.get("/j/boxes.jp2?cnew=http&stream=0&fsiz=1,1,closest&len=300")
    cid, path = opened(r)
    c.take(r.body)
    while c.take(s.get("%s?cid=%s&fsiz=1,1,closest&len=3000" % (path, cid)).body)[1] == 4:
        pass
    assert all(c.complete(8, k) for k in range(3)) and c.doubled == 0


def test_gzip(jpip):
    """Metadata alone is compressed where the client takes that; nothing else is."""
    s = jpip()
    plain = s.get("/j/boxes.jp2?metareq=[*]!!")
    r = s.get("/j/boxes.jp2?metareq=[*]!!", {"Accept-Encoding": "gzip"})
    assert r["Content-Encoding"] == "gzip" and len(r.body) < len(plain.body) / 4
    assert gzip.decompress(r.body) == plain.body
    assert "Accept-Encoding" in r["Vary"] and "Accept-Encoding" in plain["Vary"]
    for q in ("metareq=[*]&fsiz=10,10", "fsiz=187,141"):
        assert not s.get("/j/boxes.jp2?" + q, {"Accept-Encoding": "gzip"})["Content-Encoding"]


# ---- movies

def test_movie(jpip, pictures, folder):  # noqa: F811
    """Linked frames come from their files; broken ones stay empty and harm no other."""
    s = jpip("JPIPLinkRoot " + pictures)
    c = jc.Cache()
    r = s.get("/j/links.jpx?cnew=http&metareq=[*]!!")
    cid, path = opened(r)
    c.take(r.body)
    assert c.get(8).count(b"phld") == make_jpip.FRAMES + 1
    for n in list(range(0, make_jpip.FRAMES, 7)) + list(range(10, 15)) + [20, 21]:
        r = s.get("%s?cid=%s&stream=%d&fsiz=96,80" % (path, cid, n))
        assert r.status == 200 and c.take(r.body)[1] == 2, n
        broken = n in range(10, 15) or n == 20
        assert bool(c.get(jc.MAIN, 0, n)) != broken, n
        if not broken:
            assert decoded(c, folder, number=n) == decode("%s/frames/%d.jp2" % (pictures, n % 4))
    assert b"root:" not in b"".join(b.data() for b in c.bins.values())


test_movie = pytest.mark.log("IIP0007")(test_movie)


@pytest.mark.log("IIP0007")
def test_link_roots(jpip, pictures, folder, serve):  # noqa: F811
    """Absolute links: beneath the IIPRoot or a JPIPLinkRoot, nowhere else."""
    outside = pictures + "/frames"
    os.mkdir(folder + "/own")
    at = make_jpip.codestream(outside + "/1.jp2")
    with open(folder + "/own/m.jpx", "wb") as f:
        f.write(make_jpip.jpx(b"", [make_jpip.link(at[1], len(at[0]), 1), make_jpip.box(b"jp2c", at[0])], ["file://" + outside + "/1.jp2"]))
    with open(folder + "/own/r.jpx", "wb") as f:
        f.write(make_jpip.jpx(b"", [make_jpip.link(at[1], len(at[0]), 1), make_jpip.box(b"jp2c", at[0])], ["../secret.jp2"]))
    shutil.copy(outside + "/1.jp2", folder + "/secret.jp2")
    conf = '<Location /%%s>\nSetHandler jpip-handler\nIIPRoot "%s/own"\n%%s\n</Location>\n' % folder
    s = serve(conf % ("a", "") + conf % ("b", "JPIPLinkRoot " + outside) + conf % ("c", "JPIPLinkRoot /srv " + folder), fresh=True)
    for place, works in (("a", False), ("b", True), ("c", False)):
        ms, _ = jc.messages(s.get("/%s/m.jpx?fsiz=96,80" % place).body)
        assert bool([m for m in ms if m.cls == 6]) == works, place
        assert [m.stream for m in jc.messages(s.get("/%s/m.jpx?fsiz=96,80&stream=1" % place).body)[0] if m.cls == 6] == [1]
        ms, _ = jc.messages(s.get("/%s/r.jpx?fsiz=96,80" % place).body)
        assert not [m for m in ms if m.cls == 6]


@pytest.mark.log("IIP0007")
def test_single_broken_link(jpip):
    refused(jpip().get("/j/broken.jpx?fsiz=10,10"), 404, "not-found")


def test_streams(jpip, pictures, folder):  # noqa: F811
    """Ranges, steps, esajpip's a:b, contexts; what is beyond the last is left out and said."""
    s = jpip()
    seen = lambda r: sorted({m.stream for m in jc.messages(r.body)[0] if m.cls == 6})
    for q, want, said in (("stream=1", [1], None), ("stream=0-2", [0, 1, 2], None), ("stream=1-", [1, 2, 3, 4, 5], None),
                          ("stream=0-5:2", [0, 2, 4], None), ("stream=2:4", [2, 3, 4], None), ("stream=5,1,1", [1, 5], None),
                          ("stream=4-9", [4, 5], "4-5"), ("stream=9", [], None), ("context=jpxl<1-3:2>", [1, 3], None),
                          ("context=jpxl<2>[s0i0],other", [2], None), ("context=mj2t<0>", [0], None)):
        r = s.get("/j/embedded.jpx?fsiz=96,80&" + q)
        assert seen(r) == (want or []), q
        assert r["JPIP-stream"] == said, q
    assert s.get("/j/embedded.jpx?fsiz=96,80&context=jpxl<1-3:2>")["JPIP-context"] == "jpxl<1-3:2>=1,3"
    c = jc.Cache()
    assert c.take(s.get("/j/embedded.jpx?fsiz=96,80&stream=0-5&metareq=[*]").body)[1] == 1
    for n in range(6):
        assert decoded(c, folder, number=n) == decode("%s/frames/%d.jp2" % (pictures, n % 4))


@pytest.mark.slow
def test_long_movie(serve, folder, pictures):  # noqa: F811
    """A thousand linked frames, one broken: each request costs its frame, the channel's record stays small."""
    frames = [make_jpip.codestream("%s/frames/%d.jp2" % (pictures, i)) for i in range(4)]
    for i in range(4):
        shutil.copy("%s/frames/%d.jp2" % (pictures, i), folder)
    bodies = [make_jpip.link(frames[i % 4][1], len(frames[i % 4][0]), i % 4 + 1) for i in range(3000)]
    bodies[500] = make_jpip.link(0, 10, 77)
    with open(folder + "/m.jpx", "wb") as f:
        f.write(make_jpip.jpx(b"", bodies, ["%d.jp2" % i for i in range(4)]))
    s = serve('<Location /k>\nSetHandler jpip-handler\nIIPRoot "%s"\n</Location>\n' % folder, fresh=True)
    cid, path = opened(s.get("/k/m.jpx?cnew=http"))
    sock, t = s.connect(), time.time()
    for n in range(1000):
        r = sock.request("GET", "%s?cid=%s&stream=%d&fsiz=96,80&len=2097152" % (path, cid, n))
        assert r.status == 200 and len(r.body) > (2000 if n != 500 else 2), n
    assert time.time() - t < 20
    for n in range(0, 1000, 111):
        assert sock.request("GET", "%s?cid=%s&stream=%d&fsiz=96,80" % (path, cid, n)).body == b"\0\2\0", n
    r = sock.request("GET", "%s?cid=%s&stream=0-999&fsiz=96,80" % (path, cid))
    assert r.body == b"\0\2\0"


# ---- HTTP

def test_headers(jpip):
    s = jpip()
    r = s.get("/j/gray.jp2?fsiz=187,141", {"Origin": "http://x.example"})
    assert r["Access-Control-Allow-Origin"] == "*" and "JPIP-tid" in r["Access-Control-Expose-Headers"]
    assert r["Content-Type"] == "image/jpp-stream" and r["ETag"] and r["Cache-Control"] == "max-age=86400"
    assert s.get("/j/gray.jp2?fsiz=187,141", {"If-None-Match": r["ETag"]}).status == 304
    assert s.get("/j/gray.jp2?fsiz=187,140")["ETag"] != r["ETag"]
    h = s.head_of("/j/gray.jp2?fsiz=180,140")
    assert h.status == 200 and h["JPIP-fsiz"] == "94,71" and h["Content-Type"] == "image/jpp-stream"
    o = s.request("OPTIONS", "/j/gray.jp2")
    assert o.status == 204 and o["Allow"] == "GET, HEAD, POST, OPTIONS" and o["Access-Control-Allow-Methods"]
    for method in ("PUT", "DELETE", "PATCH"):
        r = refused(s.request(method, "/j/gray.jp2", body=b"x"), 405, "method")
        assert r["Allow"] == "GET, HEAD, POST, OPTIONS"
    r = s.get("/j/gray.jp2?handled=1&pref=x,conciseness/r")
    assert "model" in r["JPIP-handled"].split(",") and r["JPIP-pref"] == "conciseness/r"
    r = s.get("/j/gray.jp2?type=raw,jpt-stream")
    assert r["Content-Type"] == "image/jpt-stream" and r["JPIP-type"] == "jpt-stream"


def test_length_or_chunks(jpip):
    s = jpip()
    r = s.get("/j/lossy.jp2?fsiz=187,141&len=65536")
    assert r["Content-Length"] == str(len(r.body)) and not r.chunked
    r = s.get("/j/rpcl-whole-none.jp2?fsiz=187,141&len=65536")
    assert r["Content-Length"] == str(len(r.body)) and not r.chunked


def test_raw(jpip, pictures):  # noqa: F811
    """JPIPRaw: the file, with ranges; else 415."""
    s = jpip("JPIPRaw On")
    with open(pictures + "/gray.jp2", "rb") as f:
        data = f.read()
    for kind in ("raw", "image/jp2", "image/png,raw"):
        r = s.get("/j/gray.jp2?type=" + kind)
        assert r.body == data and r["Content-Type"] == "image/jp2" and r["ETag"]
    r = s.get("/j/gray.jp2?type=raw", {"Range": "bytes=100-199"})
    assert r.status == 206 and r.body == data[100:200]
    assert s.get("/j/links.jpx?type=raw")["Content-Type"] == "image/jpx"
    refused(jpip().get("/j/gray.jp2?type=raw"), 415, "format")


def test_post(jpip):
    s = jpip()
    want = s.get("/j/gray.jp2?fsiz=187,141&layers=1").body
    for query, body in (("", b"fsiz=187,141&layers=1"), ("?fsiz=10,10&layers=2", b"fsiz=187,141&layers=1\r\n"),
                        ("?fsiz=187,141&layers=1", b"")):
        r = s.request("POST", "/j/gray.jp2" + query, {"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"}, body)
        assert r.status == 200 and r.body == want and not r["ETag"], query
    r = s.request("POST", "/j", None, b"target=gray.jp2&fsiz=187,141&layers=1")
    assert r.body == want
    refused(s.request("POST", "/j/gray.jp2", {"Content-Type": "application/json"}, b"{}"), 415)
    refused(s.request("POST", "/j/gray.jp2", None, b"model=" + b"P1," * 400000), 413, "body")
    big = b"fsiz=187,141&model=" + b",".join(b"P%d" % (i * 7 % 300000) for i in range(130000))
    t = time.time()
    assert s.request("POST", "/j/gray.jp2", None, big).status == 200 and time.time() - t < 5


@pytest.mark.log("AH01630")
def test_mapped(serve, pictures):  # noqa: F811
    """Without IIPRoot httpd maps names: by path or by target, relative links too; what is no JPEG 2000 goes its own way."""
    s = serve('Alias /m "%s"\n<Directory "%s">\nRequire all granted\n</Directory>\n<Location /m>\nSetHandler jpip-handler\n'
              '</Location>\n<Location /m/frames/3.jp2>\nRequire all denied\n</Location>\nAllowEncodedSlashes On\n' % (pictures, pictures))
    r = s.get("/m/gray.jp2?fsiz=187,141&cnew=http")
    cid, path = opened(r)
    assert path == "/m/gray.jp2" and jc.messages(r.body)[1] == 1
    assert s.get("%s?cid=%s&fsiz=187,141" % (path, cid)).body == b"\0\1\0"
    refused(s.get("/m/sub.jp2?cid=%s" % cid), 400)
    r = s.get("/m/?target=frames/1.jp2&fsiz=96,80&cnew=http")
    cid, path = opened(r)
    assert path == "/m/" and jc.messages(r.body)[1] == 1
    assert s.get("/m/?cid=%s&fsiz=96,80" % cid).body == b"\0\1\0"
    assert s.get("/m/?target=frames/3.jp2").status == 403
    assert s.get("/m/frames/3.jp2?fsiz=1,1").status == 403
    for bad in ("../x.jp2", "/etc/passwd", "nothing.jp2", "frames"):
        assert s.get("/m/?target=" + bad).status == 404
    assert s.get("/m/done").body == b"" and not s.get("/m/done")["JPIP-tid"]
    assert s.get("/m/none.jp2?fsiz=1,1").status == 404


@pytest.mark.log("IIP0007|AH01630")
def test_mapped_links(serve, pictures, folder):  # noqa: F811
    s = serve('Alias /m "%s"\n<Directory "%s">\nRequire all granted\nSetHandler jpip-handler\n</Directory>\n'
              '<Location /m/frames/2.jp2>\nRequire all denied\n</Location>\nAllowEncodedSlashes On\n' % (pictures, pictures))
    c = jc.Cache()
    for n, works in ((0, True), (1, True), (2, False), (3, False), (10, False), (12, False)):
        r = s.get("/m/links.jpx?stream=%d&fsiz=96,80" % n)
        assert r.status == 200 and not r["WWW-Authenticate"]
        c.take(r.body)
        assert bool(c.get(jc.MAIN, 0, n)) == works, n
    assert decoded(c, folder, number=1) == decode(pictures + "/frames/1.jp2")
