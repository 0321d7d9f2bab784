# SPDX-License-Identifier: Apache-2.0
"""Many at once: a stampede decodes once a child; who loses a child loses only what that child was at (spec/security.md 8)."""
import os
import re
import signal
import threading
import time

import pytest

from common import location

STATUS = "<Location /figures>\nSetHandler iip-status\nIIPStatus On\n</Location>\n"
CLIENTS = 200


def figures(s):
    return s.get("/figures?format=json").json()


@pytest.mark.any_mpm
def test_stampede(serve, mpm):
    """200 clients on one cold tile."""
    children = 8 if mpm == "prefork" else 2
    s = serve(location() + STATUS, fresh=True, children=children, threads=1 if mpm == "prefork" else CLIENTS // 2)
    url, ready, bodies, lock = "/i/photo_deflate.tif/256,256,1024,1024/1024,/0/default.webp", threading.Barrier(CLIENTS), [], threading.Lock()

    def client():
        c = s.connect()
        ready.wait(30)
        r = c.request("GET", url)
        with lock:
            bodies.append((r.status, r.broken, r.body))
        c.close()

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert len(bodies) == CLIENTS and len(set(bodies)) == 1
    assert bodies[0][:2] == (200, False)
    for _ in range(100):
        f = figures(s)
        if f["requests"] == CLIENTS:
            break
        time.sleep(0.05)
    made = f["cache_misses"]["output"]
    assert 1 <= made <= (1 if s.single else children + (mpm == "prefork"))
    assert f["pictures"]["miss"] == made and f["pictures"]["hit"] + f["pictures"]["wait"] == CLIENTS - made


@pytest.mark.any_mpm
@pytest.mark.parametrize("url", ["/i/photo.tif/0,0,800,800/^2400,/0/default.png", "/i/photo.tif/64,64,300,300/200,/0/default.jpg"],
                         ids=["streams", "tiles"])
def test_lost_child(serve, mpm, url):
    """kill -9: connections of other children go on as if nothing had been."""
    s = serve(location("/i", "{data}", "IIPTimeout 60s") + 'KeepAliveTimeout 60\nLogFormat "%P %{remote}p" who\nCustomLog "{dir}/who.log" who\n',
              fresh=True, children=8 if mpm == "prefork" else 2, threads=8)
    if s.single:
        pytest.skip("one process")
    want, good, lost = s.get(url).body, 0, 0
    clients, child = [s.connect() for _ in range(8)], {}
    ports = {c.sock.getsockname()[1]: c for c in clients}
    for c in clients:
        assert c.request("GET", "/i/b.tif/info.json", keep=True).status == 200
    for _ in range(100):
        with open(s.dir + "/who.log") as f:
            child = {int(port): int(pid) for pid, port in re.findall(r"^(\d+) (\d+)$", f.read(), re.M)}
        if all(p in child for p in ports):
            break
        time.sleep(0.05)
    victim = child[clients[0].sock.getsockname()[1]]
    for c in clients:
        c.send("GET", url, keep=True)
    os.kill(victim, signal.SIGKILL)
    for port, c in ports.items():
        try:
            r = c.receive()
            assert r.status == 200 and (not r.broken or child[port] == victim)
            assert r.broken or r.body == want
            broken = r.broken
        except (OSError, EOFError) as e:
            assert child[port] == victim, e
            broken = True
        lost += broken
        good += not broken
        if child[port] != victim:
            assert c.request("GET", "/i/b.tif/info.json", keep=True).status == 200
        c.close()
    assert good >= sum(child[p] != victim for p in ports)
    assert lost >= 1 or "300,300" in url  # a tile may have been out before
