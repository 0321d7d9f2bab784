# SPDX-License-Identifier: Apache-2.0
"""Large requests share the permits of the machine over all children (spec/performance.md 3.5): tiles get through, nobody's
permit is lost with a child."""
import contextlib
import os
import signal
import threading
import time

import pytest

import httpd
from common import location, refused

STATUS = "<Location /figures>\nSetHandler iip-status\nIIPStatus On\n</Location>\n"
CONF = "IIPMaxDecodes 2 64\n" + location("/i", "{data}", "IIPMaxSize 10000", "IIPMaxArea 0", "IIPTimeout 60s") + STATUS
PERMITS = max(1, (os.cpu_count() or 1) - 1)


def large(n, side=3000):
    return "/i/photo.tif/0,0,%d,%d/^%d,/0/default.png" % (1200 - n, 1200 - n, side)


def small(n):
    return "/i/photo.tif/%d,%d,200,200/100,/0/default.jpg" % (n, n)


def figures(s):
    return s.get("/figures?format=json").json()


def room(n):
    """As many requests at once in one child, where children have threads."""
    return dict(children=n, threads=1) if os.environ.get("IIP_MPM") == "prefork" else dict(children=1, threads=n)


def quiet(s):
    for _ in range(400):
        with contextlib.suppress(ConnectionError):  # a child that is being killed
            f = figures(s)
            if f["large"] == 0 and f["large_waiting"] == 0:
                return True
        time.sleep(0.05)
    return False


@pytest.mark.any_mpm
@pytest.mark.slow
def test_large_ones_stand_in_line(serve):
    s = serve(CONF, fresh=True, children=12 if httpd.ROOT and os.environ.get("IIP_MPM") == "prefork" else 4, threads=8)
    if s.single:
        pytest.skip("one process")
    seen, stop = [], threading.Event()

    def watch():
        while not stop.is_set():
            f = figures(s)
            seen.append((f["large"], f["large_waiting"]))
            assert s.get(small(len(seen) % 300)).status == 200

    n = 2 if s.mpm == "prefork" else 8
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        answers = httpd.parallel(n, lambda i: s.get(large(i)), range(n))
    finally:
        stop.set()
        watcher.join()
    assert [r.status for r in answers] == [200] * n and all(not r.broken for r in answers)
    assert max(a for a, _ in seen) == PERMITS
    if s.mpm != "prefork":
        assert max(b for _, b in seen) > 0
    assert quiet(s)


@pytest.mark.any_mpm
@pytest.mark.log("AH00052|exit signal Killed")
@pytest.mark.slow
def test_killed_with_a_permit(serve):
    s = serve(CONF, fresh=True, **room(8))
    if s.single:
        pytest.skip("one process")
    c = [s.connect() for _ in range(PERMITS + 2)]
    for i, x in enumerate(c):
        x.send("GET", large(i, 6000))
    for _ in range(200):
        if figures(s)["large"] == PERMITS:
            break
        time.sleep(0.02)
    else:
        raise AssertionError("no large request was seen")
    for pid in s.child_pids():
        os.kill(pid, signal.SIGKILL)
    [x.close() for x in c]
    assert quiet(s)
    assert s.get(large(9, 2500)).status == 200


@pytest.mark.any_mpm
@pytest.mark.slow
def test_per_client(serve):
    """One address has so many places, over all children; others are not concerned, and what is cached is free."""
    trusted = "RemoteIPHeader X-Client\nRemoteIPTrustedProxy 127.0.0.1\n"
    s = serve(trusted + CONF.replace("IIPTimeout 60s", "IIPTimeout 60s\nIIPMaxPerClient 2"), fresh=True,
              modules=("remoteip",), **room(16))
    warm = s.get(small(1)).body
    answers = httpd.parallel(9, lambda i: s.get(large(i, 4000), {"X-Client": "192.0.2.%d" % (1 if i < 6 else i)}), range(9))
    mine, others = answers[:6], answers[6:]
    assert [r.status for r in others] == [200] * 3
    assert 2 <= sum(r.status == 200 for r in mine) < 6
    for r in mine:
        if r.status != 200:
            refused(r, 429, "client")
    assert s.get(small(1)).body == warm and s.get(large(99, 2500)).status == 200


@pytest.mark.any_mpm
@pytest.mark.log("IIP0112")
@pytest.mark.slow
def test_line_is_full(serve):
    s = serve(CONF.replace("2 64", "2 0"), fresh=True, **room(16))
    n = PERMITS + 8  # of a second or two each: on a slow machine too they meet
    answers = httpd.parallel(n, lambda i: s.get(large(i, 6000)), range(n))
    good = [r for r in answers if r.status == 200]
    assert len(good) >= PERMITS and len(good) < len(answers)
    for r in answers:
        if r.status != 200:
            refused(r, 503, "busy")
    assert s.get(small(5)).status == 200
