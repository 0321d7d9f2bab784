# SPDX-License-Identifier: Apache-2.0
"""JPIP beside other work: figures on the status page, limits that keep threads for tiles (spec/jpip.md 8, 10)."""
import time

import pytest

import jpip_client as jc
import make_jpip
from common import refused
from test_jpip import pictures  # noqa: F401
from test_jpip_channels import jpip, opened  # noqa: F401

FIGURES = "<Location /figures>\nSetHandler iip-status\nIIPStatus On\n</Location>\n"


def figures(s, requests):
    """Once that many JPIP requests are counted: each is, after its answer has left."""
    for _ in range(100):
        f = s.get("/figures?format=json").json()
        if f["request_seconds"]["jpip"]["count"] >= requests:
            break
        time.sleep(0.05)
    assert f["request_seconds"]["jpip"]["count"] == requests
    return f


@pytest.mark.any_mpm
def test_figures(jpip):  # noqa: F811
    """Channels, requests, bytes and packet indexes of all children, on the status page."""
    s = jpip(before=FIGURES, children=4, fresh=True)
    assert figures(s, 0)["jpip_channels"] == 0
    cids = [opened(s.get("/j/gray.jp2?cnew=http&len=0"))[0] for _ in range(7)]
    body = sum(len(s.get("/j/gray.jp2?fsiz=187,141&layers=%d" % n).body) for n in (1, 2))
    one = s.get("/j?cid=%s&fsiz=187,141" % cids[0]).body
    f = figures(s, 10)
    assert f["jpip_channels"] == 7 and 7 * 90 < f["jpip_channel_bytes"] < 7 * 1000
    assert f["jpip_bytes"] == body + len(one) + 7 * 3
    assert f["jpip_channel_events"] == {"opened": 7, "closed": 0, "lost": 0}
    assert s.get("/j?cid=%s&cclose=%s&len=0" % (cids[0], cids[0])).status == 200
    assert s.get("/j/gray.jp2?cclose=%s,%s&len=0" % (cids[1], cids[2])).status == 200
    assert s.get("/j?cid=%s&len=0" % cids[0]).status == 503
    f = figures(s, 13)
    assert f["jpip_channels"] == 4 and f["jpip_channel_events"] == {"opened": 7, "closed": 3, "lost": 1}
    assert f["packet_indexes"]["built"] >= 1 and f["packet_indexes"]["failed"] == 0
    assert f["cache_entries"]["index"] >= 1 and f["cache_used"]["index"] > 500
    text = s.get("/figures?format=prometheus").body.decode()
    assert "\niip_jpip_channels 4\n" in text and '\niip_jpip_channel_events_total{event="opened"} 7\n' in text


@pytest.mark.log("IIP0112: busy: no file: JPIP")
def test_tiles_find_a_thread(serve, folder):
    """Clients that do not read hold half of the server at most: JPIP is then refused, and tiles are served."""
    make_jpip.opj(make_jpip.picture(1600, 1600), folder + "/big.jp2", "-r", "1", "-n", "6", "-c", "[64,64]")
    s = serve('SendBufferSize 8192\n<Location /k>\nSetHandler jpip-handler\nIIPRoot "%s"\n</Location>\n'
              '<Location /i>\nSetHandler iiif-handler\nIIPRoot "%s"\n</Location>\n' % (folder, folder), children=1, threads=8,
              fresh=True)
    slow = [s.connect() for _ in range(4)]
    for c in slow:
        c.sock.setsockopt(6, 10, 4096)
        c.send("GET", "/k/big.jp2?fsiz=1600,1600")
    until = time.time() + 20
    while True:
        r = s.get("/k/big.jp2?fsiz=1,1")
        if r.status != 200 or time.time() > until:
            break
        time.sleep(0.05)
    refused(r, 503, "busy")
    assert int(r["Retry-After"]) > 0
    assert s.get("/i/big.jp2/0,0,256,256/max/0/default.jpg").status == 200
    for c in slow:
        c.reset()
    while s.get("/k/big.jp2?fsiz=1,1").status != 200 and time.time() < until + 20:
        time.sleep(0.05)
    assert s.get("/k/big.jp2?fsiz=1,1").status == 200


@pytest.mark.log("IIP0112.*being built")
def test_nobody_waits_for_a_large_file(serve, folder, pictures):  # noqa: F811
    """From 1 GiB on a thread builds the index: 503 until then, while tiles go the way without it."""
    with open(pictures + "/lrcp-tiled-none.jp2", "rb") as f:
        data = f.read()
    at = data.index(b"jp2c") - 4
    with open(folder + "/large.jp2", "wb") as f:
        f.write(data[:at] + b"\0\0\0\0" + data[at + 4:])  # to the end of the file
        f.truncate((1 << 30) + 5000000)
    s = serve('<Location /k>\nSetHandler jpip-handler\nIIPRoot "%s"\n</Location>\n'
              '<Location /i>\nSetHandler iiif-handler\nIIPRoot "%s"\n</Location>\n' % (folder, folder), fresh=True)
    r = refused(s.get("/k/large.jp2?fsiz=187,141"), 503, "busy")
    assert int(r["Retry-After"]) > 0
    want = s.get("/i/large.jp2/10,10,100,90/max/0/default.png")
    assert want.status == 200
    until = time.time() + 30
    while r.status == 503 and time.time() < until:
        time.sleep(0.02)
        r = s.get("/k/large.jp2?fsiz=187,141")
    assert r.status == 200 and jc.messages(r.body)[1] == 1
    assert s.get("/i/large.jp2/10,10,100,90/max/0/default.png").body == want.body
