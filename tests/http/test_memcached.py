# SPDX-License-Identifier: Apache-2.0
"""memcached behind the caches (spec/security.md 6.5; architecture 3.6): what is shared, what is never believed, and what a
server costs that is gone, silent or not memcached at all. Figures of time are generous: machines are busy."""
import contextlib
import os
import re
import shutil
import signal
import socket
import threading
import time

import pytest

import httpd
from common import location, refused
from stores import cached, wait_stored  # noqa: F401

PATIENT = "IIPMemcachedDeadline 5s\n"
FORMAT = 'LogFormat "%U %>s cache=%{iip-cache}n ms=%{iip-ms}n level=%{iip-level}n" iip\nCustomLog "{dir}/access.log" iip\n'


def conf(servers, root="{data}", more=PATIENT, client="apr"):
    return "%sIIPMemcached %s\nIIPMemcachedClient %s\nIIPCacheSize 0 0\n%s" % (
        more, " ".join("127.0.0.1:%d" % m.port for m in servers), client, location("/i", root)) + FORMAT


def tile(n, name="b.tif", ext="png"):
    """A small answer that is not a stored tile."""
    return "/i/%s/%d,%d,40,40/40,/0/default.%s" % (name, n, n, ext)


def notes(s, want):
    """The last `want` lines of the access log as (path, status, cache, ms, level)."""
    for _ in range(100):
        with open(s.dir + "/access.log") as f:
            lines = re.findall(r"^(\S+) (\d+) cache=(\S+) ms=(\S+) level=(\S+)$", f.read(), re.M)
        if len(lines) >= want:
            return lines
        time.sleep(0.05)
    raise AssertionError("%d lines in the access log" % len(lines))


STATUS = "<Location /figures>\nSetHandler iip-status\nIIPStatus On\n</Location>\n"
SOAK = bool(os.environ.get("IIP_SOAK"))
CLIENTS = ["apr", "libmemcached"]


@pytest.mark.any_mpm
@pytest.mark.parametrize("client", CLIENTS)
def test_shared_by_servers(serve, cached, client):
    """One makes it, another one answers with the very same bytes; both clients know each other's values."""
    m = cached()
    a = serve(conf([m], client=client), fresh=True)
    first = [a.get(tile(n)) for n in range(8)]
    wait_stored(8, m)
    assert all(re.fullmatch("iip1:[0-9a-f]{32}", k) for k in m.keys())
    b = serve(conf([m], client=CLIENTS[CLIENTS.index(client) - 1]), fresh=True)
    second = [b.get(tile(n)) for n in range(8)]
    assert [r.status for r in first + second] == [200] * 16
    assert [r.body for r in first] == [r.body for r in second]
    assert [(r["ETag"], r["Content-Type"], r["Last-Modified"]) for r in first] == [
        (r["ETag"], r["Content-Type"], r["Last-Modified"]) for r in second]
    assert [x[2] for x in notes(a, 8)] == ["miss"] * 8
    assert [x[2] for x in notes(b, 8)] == ["shared"] * 8
    assert m.stat("get_hits") == 8


def test_notes(serve, cached):
    m = cached()
    s = serve(conf([m]).replace("IIPCacheSize 0 0", ""), fresh=True)
    for n, path in enumerate((tile(1), tile(1), "/i/t.tif/256,0,256,256/256,/0/default.jpg", "/i/b.tif/info.json")):
        assert s.get(path).status == (404 if "/t.tif/" in path else 200)
        got = notes(s, n + 1)  # a line is written after its answer has left, so the next waits for it
    assert [x[2] for x in got[:2]] == ["miss", "hit"]
    assert got[3][2:] == ("-", "-", "-")
    for x in got[:2]:
        assert re.fullmatch(r"(\d+\.\d{3}/){4}\d+\.\d{3}", x[3]) and x[4] == "0"
    assert float(got[0][3].split("/")[4]) > 0  # a PNG takes time to be written


def test_lifetime_and_size(serve, cached):
    """The time to live is memcached's; what it cannot hold is not sent."""
    m = cached()
    s = serve(conf([m], more=PATIENT + "IIPMemcachedTTL 2s\n"), fresh=True)
    assert s.get(tile(1)).status == 200
    wait_stored(1, m)
    key = m.keys()[0]
    assert m.get(key)
    time.sleep(3.2)
    assert m.ask("get " + key) == b"END\r\n"
    n = m.stat("cmd_set")
    big = s.get("/i/photo.tif/0,0,1200,1200/1200,/0/default.tif")
    if big.status == 200 and len(big.body) > 1000000:
        time.sleep(0.3)
        assert m.stat("cmd_set") == n


def test_never_stored(serve, cached):
    """Errors, descriptions and redirects."""
    m = cached()
    s = serve(conf([m]), fresh=True)
    refused(s.get("/i/b.tif/0,0,9,9/999999,/0/default.jpg"), 400)
    refused(s.get("/i/none.tif/0,0,9,9/9,/0/default.jpg"), 404)
    assert s.get("/i/b.tif/info.json").status == 200
    time.sleep(0.3)
    assert m.stat("cmd_set") == 0 and m.stat("cmd_get") == 0


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.log("IIP0104")
def test_changed_deleted_forbidden(serve, cached, folder, data, client):
    """The file is looked at each time: memcached never answers for one that is another, gone or shut."""
    m = cached()
    shutil.copy(data + "/b.tif", folder + "/x.tif")
    s = serve(conf([m], folder, client=client), fresh=True)
    old = s.get(tile(1, "x.tif"))
    assert old.status == 200
    wait_stored(1, m)
    assert s.get(tile(1, "x.tif")).body == old.body
    assert [x[2] for x in notes(s, 2)] == ["miss", "shared"]
    os.rename(folder + "/x.tif", folder + "/y.tif")
    refused(s.get(tile(1, "x.tif")), 404)
    os.rename(folder + "/y.tif", folder + "/x.tif")
    os.chmod(folder + "/x.tif", 0)
    refused(s.get(tile(1, "x.tif")), 403)
    os.chmod(folder + "/x.tif", 0o644)
    from PIL import Image
    im = Image.open(folder + "/x.tif").convert("RGB")
    Image.eval(im, lambda v: 255 - v).save(folder + "/new.tif")
    os.rename(folder + "/new.tif", folder + "/x.tif")
    new = s.get(tile(1, "x.tif"))
    assert new.status == 200 and new["ETag"] != old["ETag"]
    a, b = old.pixels("RGB").astype(int), new.pixels("RGB").astype(int)
    assert abs(a + b - 255).max() <= 1


def test_foreign_values(serve, cached):
    """Values that are not ours, or another key's, are a miss, and the answer is right."""
    m = cached()
    s = serve(conf([m]), fresh=True)
    good = [s.get(tile(n)).body for n in range(9)]
    wait_stored(9, m)
    time.sleep(0.2)
    keys = m.keys()
    assert len(keys) == 9
    values = [m.get(k) for k in keys]
    bad = [b"", b"x", b"HTTP/1.1 200 OK", values[1][:-1], values[2] + b"\0", values[4], b"\0" * 900000, values[7][:40] + b"\1" + values[7][41:],
           values[8][:-8] + b"\0" * 8]
    for k, v in zip(keys, bad):
        m.set(k, v)
    again = [s.get(tile(n)).body for n in range(9)]
    assert again == good
    assert [x[2] for x in notes(s, 18)[9:]] == ["miss"] * 9
    for _ in range(100):  # they are mended
        if [m.get(k) for k in keys] == values:
            break
        time.sleep(0.05)
    assert [m.get(k) for k in keys] == values


def test_secret(serve, configtest, cached, folder):
    """Other secrets are other names and marks; servers elsewhere need one."""
    m = cached()
    path = os.path.join(folder, "secret")

    def with_secret(text):
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, 0o600)
        return conf([m], more=PATIENT + "IIPMemcachedSecret %s\n" % path)

    a = serve(with_secret("0123456789abcdef" * 6 + "\n"), fresh=True)
    assert a.get(tile(1)).status == 200
    wait_stored(1, m)
    b = serve(with_secret("0123456789abcdef" * 5 + "0123456789ABCDEE") + "\n", fresh=True)
    assert b.get(tile(1)).status == 200
    assert notes(b, 1)[0][2] == "miss"
    for text in ("", "0123", "0123456789abcdef" * 7, "x" * 96, "0123456789abcdef" * 5 + "0123456789abcde "):
        rc, out = configtest(with_secret(text))
        assert rc != 0 and "IIP0020" in out and "hex digits" in out, (text, out)
    os.unlink(path)
    rc, out = configtest(conf([m], more="IIPMemcachedSecret %s\n" % path))
    assert rc != 0 and "IIP0020" in out
    with open(path, "w") as f:
        f.write("0" * 96)
    os.chmod(path, 0o644)
    rc, out = configtest(conf([m], more="IIPMemcachedSecret %s\n" % path))
    assert rc == 0 and "open to everybody" in out
    for server, good in (("127.0.0.1", 1), ("127.8.9.1:5", 1), ("[::1]:9", 1), ("localhost", 1), ("192.0.2.1:11211", 0), ("[2001:db8::1]", 0)):
        rc, out = configtest("IIPMemcached %s\n" % server)
        assert (rc == 0) == bool(good), (server, out)
        assert good or "IIPMemcachedSecret" in out


def troubles(s):
    """How often a server was found not well by all children, and how many of its likes are left alone now."""
    f = s.get("/figures?format=json").json()
    return f["memcached"]["late"] + f["memcached"]["error"], f["memcached_shut"]


def until_shared(s, n, body):
    """It is tried again, 5 s after the first failure, later after more."""
    until = time.time() + 60
    while notes(s, 1)[-1][2] != "shared":
        assert time.time() < until
        assert s.get(tile(n)).body == body
        time.sleep(0.3)


@pytest.mark.parametrize("client", CLIENTS)
def test_killed_and_back(serve, cached, client):
    m = cached()
    s = serve(STATUS + conf([m], client=client), fresh=True)
    good = [s.get(tile(n)).body for n in range(5)]
    wait_stored(5, m)
    m.kill()
    t0 = time.time()
    assert [s.get(tile(n)).body for n in range(5)] == good
    found, shut = troubles(s)
    assert 1 <= found <= 2 + (time.time() - t0) / 5 and shut == 1  # an answer, and maybe one that was to be stored
    m.start()
    until_shared(s, 1, good[1])


def stop(m):
    """Each of its threads stops in its own time, and may answer until then."""
    os.kill(m.proc.pid, signal.SIGSTOP)
    tasks = "/proc/%d/task" % m.proc.pid
    until = time.time() + 20
    while not all(open("%s/%s/stat" % (tasks, t)).read().rsplit(")", 1)[1].split()[0] == "T" for t in os.listdir(tasks)):
        assert time.time() < until
        time.sleep(0.001)


@pytest.mark.any_mpm
@pytest.mark.parametrize("client", CLIENTS)
def test_stopped(serve, cached, client):
    """A server that hangs costs the deadline once, then nothing; when it goes on, all is as before."""
    m = cached()
    s = serve(STATUS + conf([m], more="IIPMemcachedDeadline 1500ms\n", client=client), fresh=True)
    good = [s.get(tile(n)).body for n in range(5)]
    wait_stored(5, m)
    before = troubles(s)
    stop(m)
    t0 = time.time()
    assert s.get(tile(0)).body == good[0]
    assert time.time() - t0 > 0.3  # of it
    found, shut = troubles(s)
    assert found > before[0] and shut == 1
    for n in list(range(5)) * 4:
        assert s.get(tile(n)).body == good[n]
    assert troubles(s)[0] <= found + (time.time() - t0) / 5
    os.kill(m.proc.pid, signal.SIGCONT)
    until_shared(s, 1, good[1])


def test_stopped_while_many_ask(serve, cached):
    """Those who wait together wait once: no more look-ups fail than there are threads to make them."""
    m = cached()
    s = serve(STATUS + conf([m], more="IIPMemcachedDeadline 1s\n"), fresh=True)
    good = {n: s.get(tile(n)).body for n in range(16)}
    wait_stored(16, m)
    stop(m)
    t0 = time.time()
    for n, body in zip(range(16), httpd.parallel(8, lambda n: s.get(tile(n)).body, range(16))):
        assert body == good[n]
    assert 1 <= troubles(s)[0] <= 2 + (time.time() - t0) / 5
    s.graceful()  # and a child whose thread is held ends
    time.sleep(0.5)
    assert s.get(tile(1)).body == good[1]


@pytest.mark.parametrize("client", CLIENTS)
def test_fleet_loses_one(serve, cached, client):
    """Of three servers one dies: what the others hold is still found."""
    fleet = [cached() for _ in range(3)]
    s = serve(conf(fleet, client=client), fresh=True)
    good = [s.get(tile(n)).body for n in range(45)]
    for _ in range(100):
        counts = [m.stat("curr_items") for m in fleet]
        if sum(counts) == 45:
            break
        time.sleep(0.05)
    assert sum(counts) == 45 and min(counts) >= 4, counts
    assert [s.get(tile(n)).body for n in range(45)] == good
    assert [x[2] for x in notes(s, 90)[45:]] == ["shared"] * 45
    fleet[1].kill()
    assert [s.get(tile(n)).body for n in range(45)] == good
    found = [x[2] for x in notes(s, 135)[90:]].count("shared")
    assert found >= counts[0] + counts[2] - 2, (found, counts)
    time.sleep(0.5)
    assert [s.get(tile(n)).body for n in range(45)] == good  # the lost ones lie with the others now
    assert [x[2] for x in notes(s, 180)[135:]].count("shared") >= 40


class Liar(threading.Thread):
    """Listens like memcached and says what it likes."""

    def __init__(self, answer):
        super().__init__(daemon=True)
        self.answer = answer
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        self.open = []
        self.start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                c, _ = self.sock.accept()
                self.open.append(c)
                threading.Thread(target=self.talk, args=(c,), daemon=True).start()

    def talk(self, c):
        with contextlib.suppress(OSError):
            while c.recv(1 << 20):
                if self.answer is None:
                    c.close()
                    return
                c.sendall(self.answer)

    def kill(self):
        self.sock.close()
        for c in self.open:
            c.close()


LIES = {
    "silent": b"",
    "hangs up": None,
    "garbage": b"\xff\x00\x81 garbage\r\n" * 20,
    "not a line": b"x" * 100000,
    "length": b"VALUE iip1:0 0 99999999999999999999\r\nx\r\nEND\r\n",
    "negative": b"VALUE iip1:0 0 -5\r\nx\r\nEND\r\n",
    "too short": b"VALUE iip1:0 0 500\r\nx\r\nEND\r\n",
    "foreign": b"VALUE iip1:0 0 5\r\nhello\r\nEND\r\n",
    "error": b"SERVER_ERROR out of memory\r\n",
    "http": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("lie", sorted(LIES))
@pytest.mark.parametrize("client", CLIENTS)
def test_false_memcached(serve, cached, client, lie):
    """Whatever the other side says, the answers are right and come soon."""
    liar = Liar(LIES[lie])
    plain = serve(location())
    good = [plain.get(tile(n)).body for n in range(6)]
    s = serve(conf([liar], more="IIPMemcachedDeadline 200ms\n", client=client), fresh=True)
    for _ in range(3):
        assert [s.get(tile(n)).body for n in range(6)] == good
    assert "shared" not in [x[2] for x in notes(s, 18)]
    liar.kill()


def test_debug_line(serve):
    s = serve(location(), fresh=True, loglevel="warn iip:debug")
    assert s.get(tile(3)).status == 200
    line = next(x for x in s.logtext().splitlines() if "IIP0001" in x)
    assert re.search(r"GET /i/b\.tif/\S+: 200, b\.tif, ok, cache miss, level 0, "
                     r"open/read/decode/process/encode [\d.]+/[\d.]+/[\d.]+/[\d.]+/[\d.]+ ms, \d+ bytes held", line), line


class Slow(threading.Thread):
    """Between a client and a memcached: hands on everything, later."""

    def __init__(self, port, seconds):
        super().__init__(daemon=True)
        self.to, self.seconds = port, seconds
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        self.start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                c, _ = self.sock.accept()
                there = socket.create_connection(("127.0.0.1", self.to))
                for a, b in ((c, there), (there, c)):
                    threading.Thread(target=self.carry, args=(a, b, a is there), daemon=True).start()

    def carry(self, a, b, wait):
        with contextlib.suppress(OSError):
            while piece := a.recv(1 << 16):
                if wait:
                    time.sleep(self.seconds)
                b.sendall(piece)
            b.shutdown(socket.SHUT_WR)

    def kill(self):
        self.sock.close()


@pytest.mark.parametrize("client", CLIENTS)
def test_slow(serve, cached, client):
    """A server that is slower than the deadline: right answers, without it."""
    m = cached()
    slow = Slow(m.port, 0.3)
    s = serve(STATUS + conf([slow], more="IIPMemcachedDeadline 100ms\n", client=client), fresh=True)
    good = [s.get(tile(n)).body for n in range(8)]
    t0 = time.time()
    assert [s.get(tile(n)).body for n in range(8)] == good
    assert "shared" not in [x[2] for x in notes(s, 16)]
    found, shut = troubles(s)
    assert 1 <= found <= 4 + (time.time() - t0) / 5 and shut == 1
    slow.kill()


if SOAK:

    @pytest.mark.parametrize("client", CLIENTS)
    def test_pace(serve, cached, client, capfd):
        """What tiles cost while the server of the second level is killed, hangs, is slow or talks nonsense; printed, with
        what they cost without one."""
        def run(s):
            c, took = s.connect(), []
            for i in range(3000):
                t0 = time.perf_counter()
                r = c.request("GET", tile(i % 80))
                took.append(time.perf_counter() - t0)
                assert r.status == 200 and good.setdefault(i % 80, r.body) == r.body
            c.close()
            took.sort()
            return [1000 * took[len(took) * q // 1000] for q in (500, 990, 999)]

        good, rows = {}, []
        rows.append(("none", run(serve("IIPCacheSize 0 0\n" + location(), fresh=True))))
        for fault in ("well", "killed", "hangs", "slow", "garbage", "foreign"):
            m = cached()
            peer = Slow(m.port, 0.05) if fault == "slow" else Liar(LIES[fault]) if fault in LIES else m
            s = serve(conf([peer], more="", client=client), fresh=True)
            if peer is m:
                until = time.time() + 60
                while m.stat("curr_items") < 80 and time.time() < until:  # a busy machine is left alone for a while
                    assert [s.get(tile(n)).body for n in range(80)] == [good[n] for n in range(80)]
                    time.sleep(0.2)
            if fault == "killed":
                m.kill()
            if fault == "hangs":
                stop(m)
            rows.append((fault, run(s)))
            m.kill()
        with capfd.disabled():
            print("\n%s: ms of a tile, of 3000: half, 99 and 99.9 of 100 are below" % client)
            for name, (p50, p99, p999) in rows:
                print("%-8s %7.3f %7.3f %7.3f   p50 %.2f x that without memcached" % (name, p50, p99, p999, p50 / rows[0][1][0]))
