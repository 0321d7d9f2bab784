# SPDX-License-Identifier: Apache-2.0
"""The figures (IIPStatus): they equal what clients counted, over all children, through a graceful restart and the end of
a child, in every form."""
import os
import random
import re
import signal
import threading
import time

import pytest

import httpd
from common import location, refused

STATUS = "<Location /figures>\nSetHandler iip-status\nIIPStatus On\n</Location>\n"
CONF = location() + STATUS


def figures(s):
    r = s.get("/figures?format=json")
    assert r.status == 200 and r["Content-Type"] == "application/json" and r["Cache-Control"] == "no-store"
    return r.json()


def settled(s, requests):
    """The figures once that many requests are counted: a request is, after its answer has left."""
    for _ in range(100):
        f = figures(s)
        if f["requests"] >= requests:
            break
        time.sleep(0.05)
    assert f["requests"] == requests, (f["requests"], requests)
    return f


def tile(n):
    return "/i/b.tif/%d,%d,40,40/40,/0/default.png" % (n % 90, n % 90)


def test_only_where_it_is_on(serve):
    s = serve(CONF + "<Location /off>\nSetHandler iip-status\n</Location>\n")
    assert s.get("/off").status == 404
    assert s.get("/figures").status == 200
    assert s.request("POST", "/figures", body=b"x").status == 405
    r = s.head_of("/figures?format=json")
    assert r.status == 200 and not r.body


@pytest.mark.any_mpm
def test_figures_are_what_was_asked(serve):
    s = serve(CONF, fresh=True, children=2, threads=4)
    if s.single:
        pytest.skip("one process")
    assert figures(s)["requests"] == 0
    ok = httpd.parallel(4, lambda n: s.get(tile(n)).status, range(60))
    assert ok == [200] * 60
    info = [s.get("/i/b.tif/info.json").status for _ in range(7)]
    assert info == [200] * 7
    for _ in range(5):
        refused(s.get("/i/none.tif/info.json"), 404)
    for _ in range(3):
        refused(s.get("/i/b.tif/0,0,x,9/max/0/default.jpg"), 400)
    tag = s.get(tile(1))["ETag"]
    for _ in range(4):
        assert s.get(tile(1), {"If-None-Match": tag}).status == 304
    f = settled(s, 60 + 7 + 5 + 3 + 1 + 4)
    assert f["answers"]["ok"] == 68 and f["answers"]["unchanged"] == 4
    assert sum(f["answers"].values()) == f["requests"]
    assert sum(v for k, v in f["answers"].items() if k not in ("ok", "unchanged")) == 8
    assert sum(f["pictures"].values()) == 61
    assert 60 <= f["pictures"]["miss"] + f["pictures"]["hit"] <= 61
    assert f["request_seconds"]["iiif"]["count"] == f["requests"]
    stages = f["stage_seconds"]["iiif"]
    assert list(f["stage_seconds"]) == ["iiif"] and list(stages) == ["open", "read", "decode", "process", "encode", "send"]
    assert stages["encode"]["count"] == f["pictures"]["miss"] == f["cache_misses"]["output"]
    assert f["cache_hits"]["output"] == f["pictures"]["hit"]
    for h in list(stages.values()) + list(f["request_seconds"].values()):
        assert sum(h["buckets"].values()) == h["count"]
        least = 0
        for bound, n in h["buckets"].items():
            least += n * (float(bound) / 2 if bound not in ("inf", "0.000064") else 0)
        assert h["sum"] >= least * 0.999
    until = time.time() + 20
    while f["children"] != len(s.child_pids()) and time.time() < until:  # prefork begins and ends children as it likes
        time.sleep(0.1)
        f = figures(s)
    assert f["children"] == len(s.child_pids()) >= 1
    assert f["resident_bytes"] > 1 << 20 and f["decoding"] == 0 and f["waiting"] == 0


@pytest.mark.any_mpm
def test_figures_are_what_a_load_generator_counts(serve):
    """Statuses and bytes of bodies, over all protocols, from many connections at once; errors that httpd words too."""
    rooms = "".join("<Location /%s>\nSetHandler %s-handler\nIIPRoot {data}\n</Location>\n" % (x, h)
                    for x, h in (("z", "zoomify"), ("d", "deepzoom"), ("f", "iip")))
    s = serve(CONF + rooms, fresh=True, children=2, threads=8)
    if s.single:
        pytest.skip("one process")
    tag = s.get(tile(1))["ETag"]
    asked = [(tile(n), {}) for n in range(40)] + [(tile(1), {"If-None-Match": tag})] * 9 + [("/i/none%d.tif/info.json" % n, {}) for n in range(7)]
    asked += [("/z/b.tif/ImageProperties.xml", {}), ("/z/b.tif/TileGroup0/0-0-0.jpg", {}), ("/d/b.tif.dzi", {}), ("/d/b.tif_files/4/0_0.jpg", {}),
              ("/f?FIF=b.tif&WID=40&CVT=jpeg", {}), ("/f?FIF=b.tif&OBJ=Max-size", {}), ("/f?FIF=none.tif&WID=40&CVT=jpeg", {}),
              ("/i/b.tif/full/max/0/default.png", {"Range": "bytes=10-99"}), ("/i/b.tif", {}), ("/i/big.tif/full/2000,/0/default.png", {})] * 3
    random.Random(4).shuffle(asked)
    got, lock = {}, threading.Lock()

    def ask(part):
        c = s.connect() if s.mpm != "prefork" else None
        for path, headers in part:
            r = c.request("GET", path, headers) if c else s.get(path, headers)
            with lock:
                n = got.setdefault((path.split("/")[1].split("?")[0], r.status), [0, 0])
                n[0] += 1
                n[1] += len(r.body)
        if c:
            c.close()

    httpd.parallel(6, ask, [asked[i::6] for i in range(6)])
    first = len(s.get(tile(1)).body)
    total = len(asked) + 2
    f = settled(s, total)
    by = lambda status: sum(n for (_, x), (n, _) in got.items() if x == status)  # noqa: E731
    sent = 2 * first + sum(n for _, n in got.values())
    for _ in range(100):  # bytes are counted when the last of them has left
        if f["sent_bytes"] == sent:
            break
        time.sleep(0.05)
        f = figures(s)
    assert f["sent_bytes"] == sent, (f["sent_bytes"], got)
    a = f["answers"]
    assert a["unchanged"] == by(304) == 9 and a["not-found"] == by(404) == 10
    assert a["ok"] == by(200) + by(206) + by(303) + 2 and by(206) == by(303) == 3
    assert sum(a.values()) == f["requests"] == total
    for place, name in (("i", "iiif"), ("z", "zoomify"), ("d", "deepzoom"), ("f", "iip")):
        n = sum(n for (x, _), (n, _) in got.items() if x == place) + (2 if place == "i" else 0)
        assert f["request_seconds"][name]["count"] == n, name
        assert f["stage_seconds"][name]["open"]["count"] >= 3


@pytest.mark.any_mpm
@pytest.mark.log("AH00052|exit signal Killed|AH00171|AH00163|AH00094|AH00493|AH0123|AH0124")
def test_restart_and_lost_child(serve):
    s = serve(CONF, fresh=True, children=2, threads=4)
    if s.single:
        pytest.skip("one process")
    for n in range(20):
        assert s.get(tile(n)).status == 200
    before = settled(s, 20)
    for _ in range(2):
        old = set(s.child_pids())
        s.graceful()
        for _ in range(200):
            if not old & set(s.child_pids()):
                break
            time.sleep(0.05)
    f = settled(s, 20)
    assert f["uptime_seconds"] > before["uptime_seconds"]
    assert f["cache_misses"]["output"] == before["cache_misses"]["output"] == 20
    assert f["cache_used"]["output"] == 0  # of the children that live
    assert s.get(tile(1)).status == 200
    assert settled(s, 21)["cache_used"]["output"] > 0


def exposition(text):
    """Prometheus' text format 0.0.4 by the letter: {name{labels}: value}."""
    values, types, open_name, done = {}, {}, None, set()
    label = r'[a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\"n])*"'
    row = re.compile(r'([a-zA-Z_:][\w:]*)((?:\{%s(?:,%s)*\})?) (\d+(?:\.\d+)?)' % (label, label))
    assert text.endswith("\n") and "\r" not in text
    for line in text.split("\n")[:-1]:
        m = re.fullmatch(r"# (HELP|TYPE) ([a-zA-Z_:][\w:]*) (.+)", line)
        if m:
            kind, name, rest = m.groups()
            if name != open_name:  # all lines of a name are one group
                assert name not in done, line
                done.add(name)
                open_name = name
            if kind == "TYPE":
                assert rest in ("counter", "gauge", "histogram") and name not in types, line
                types[name] = rest
            continue
        m = row.fullmatch(line)
        assert m, line
        name, labels, value = m.groups()
        base = re.sub("_(bucket|sum|count)$", "", name) if types.get(open_name) == "histogram" else name
        assert base == open_name and base in types, line
        assert (types[base] == "counter") == name.endswith("_total"), line
        assert types[base] == "histogram" or "le=" not in labels, line
        assert name + labels not in values, line
        values[name + labels] = float(value)
    for name in (n for n, kind in types.items() if kind == "histogram"):
        rows = {}
        for key, value in values.items():
            m = re.fullmatch(name + r'_bucket\{(.*),le="(.*)"\}', key)
            if m:
                rows.setdefault(m[1], []).append((float(m[2]), value))
        for labels, run in rows.items():
            assert run == sorted(run) and [v for _, v in run] == sorted(v for _, v in run) and run[-1][0] == float("inf")
            assert run[-1][1] == values["%s_count{%s}" % (name, labels)] and "%s_sum{%s}" % (name, labels) in values
    return values


def test_prometheus(serve):
    s = serve(CONF, fresh=True)
    for n in range(9):
        s.get(tile(n))
    f = settled(s, 9)
    r = s.get("/figures?format=prometheus")
    assert r["Content-Type"].startswith("text/plain; version=0.0.4")
    values = exposition(r.body.decode())
    assert values["iip_requests_total"] == 9
    assert values['iip_answers_total{outcome="ok"}'] == 9
    assert values['iip_stage_seconds_count{protocol="iiif",stage="encode"}'] == f["stage_seconds"]["iiif"]["encode"]["count"] == 9
    run = [v for k, v in values.items() if k.startswith('iip_request_seconds_bucket{protocol="iiif"')]
    assert run == sorted(run) and run[-1] == 9 == values['iip_request_seconds_count{protocol="iiif"}']


def test_columns_and_page(serve):
    s = serve(CONF, fresh=True)
    for n in (1, 2, 2, 2):
        s.get(tile(n))
    settled(s, 4)
    words = s.get("/figures?columns").body.decode().split()
    assert len(words) == 8
    assert abs(float(words[0]) - time.time()) < 60 and words[1:5] == ["4", "0", "0", "0"] and float(words[5]) == 0.5
    assert 1 < float(words[6]) < 100000
    page = s.get("/figures")
    assert page["Content-Type"].startswith("text/html") and b"<td>4</td>" in page.body
    from xml.dom import minidom
    minidom.parseString(re.sub(rb'<!DOCTYPE html>|<meta charset="utf-8">', b"", page.body))


def test_in_mod_status(serve):
    s = serve(CONF + "<Location /server-status>\nSetHandler server-status\n</Location>\n", modules=("status",), fresh=True)
    for n in range(3):
        s.get(tile(n))
    settled(s, 3)
    page = s.get("/server-status").body
    assert b"<h2>mod_iip</h2>" in page and b"cache_hits" in page
    auto = s.get("/server-status?auto").body.decode()
    assert "\nIIP-requests: 3\n" in auto and "<" not in auto[auto.index("IIP-"):]


@pytest.mark.log("AH00052|exit signal Killed")
def test_killed_child(serve):
    """What it had counted stays; only its own requests are lost."""
    s = serve(CONF, fresh=True)
    for n in range(5):
        assert s.get(tile(n)).status == 200
    settled(s, 5)
    victim = s.child_pids()[0]
    os.kill(victim, signal.SIGKILL)
    for _ in range(200):
        if s.child_pids() and victim not in s.child_pids():
            break
        time.sleep(0.05)
    assert s.get(tile(1)).status == 200
    f = settled(s, 6)
    assert f["cache_misses"]["output"] == 6
