# SPDX-License-Identifier: Apache-2.0
"""conf/examples/fleet.conf, loaded as it is: a balancer, three image servers with copies of the pictures, three memcached
and a redis. What one has made the others send; what is lost is not missed."""
import os
import re
import signal
import subprocess
import time

import pytest

import httpd
import jpip_client as jc
from stores import cached, redis, wait_stored  # noqa: F401
from test_jpip import decode, decoded, pictures  # noqa: F401

EXAMPLE = os.path.join(httpd.TOP, "conf", "examples", "fleet.conf")
PROXY = ("proxy", "proxy_http", "proxy_balancer", "lbmethod_bybusyness", "slotmem_shm")
LOG = 'LogFormat "%U%q %>s %a cache=%{iip-cache}n" fleet\nCustomLog "{dir}/access.log" fleet\n'
NAME = "dir%2Fa%20b.tif"


class Fleet:
    def __init__(self, serve, folder, data, jp2, memcached, redis, extra=""):  # noqa: F811
        self.memcached = memcached
        secret = folder + "/secret"
        with open(secret, "w") as f:
            f.write("0123456789abcdef" * 6)
        os.chmod(secret, 0o600)
        common = "Define IIP_BALANCER_IP 127.0.0.1\nDefine IIP_MEMCACHED_SECRET %s\nDefine IIP_REDIS 127.0.0.1:%d\n" % (secret, redis)
        for i, m in enumerate(memcached):
            common += "Define IIP_MEMCACHED_%d 127.0.0.1:%d\n" % (i + 1, m.port)
        self.nodes = []
        for i in range(3):
            own = "%s/%d" % (folder, i)
            os.makedirs(own + "/dir")
            for name in ("b.tif", "photo.tif"):
                subprocess.run(["cp", "-p", data + "/" + name, own], check=True)
            subprocess.run(["cp", "-p", data + "/b.tif", own + "/dir/a b.tif"], check=True)
            subprocess.run(["cp", "-p", jp2, own + "/m.jp2"], check=True)
            self.nodes.append(serve("Define IIP_SERVER_1 -\n%sDefine IIP_IMAGES %s\n%s%sInclude %s\n" % (common, own, extra, LOG, EXAMPLE),
                                    fresh=True, modules=("headers", "remoteip", "socache_redis")))
        front = "Define IIP_BALANCER\n" + common
        for i, s in enumerate(self.nodes):
            front += "Define IIP_SERVER_%d 127.0.0.1:%d\n" % (i + 1, s.port)
        self.front = serve(front + "Include %s\n" % EXAMPLE, fresh=True, module=False, modules=("headers",) + PROXY)

    def log(self, i, want=0, part=""):
        """Rows of requests that have `part` in them, once there are so many."""
        for _ in range(200):
            with open(self.nodes[i].dir + "/access.log") as f:
                rows = re.findall(r"^(\S+) (\d+) (\S+) cache=(\S+)$", f.read(), re.M)
            rows = [x for x in rows if part in x[0]]
            if len(rows) >= want:
                return rows
            time.sleep(0.05)
        raise AssertionError("%d lines in the log" % len(rows))


@pytest.fixture
def fleet(serve, folder, data, pictures, cached, redis):  # noqa: F811
    return Fleet(serve, folder, data, pictures + "/rpcl-whole-none.jp2", [cached() for _ in range(3)], redis,
                 "IIPMemcachedDeadline 5s\n")


def tile(n, name=NAME):
    return "/iiif/%s/%d,%d,40,40/40,/0/default.png" % (name, n, n)


def alike(r):
    return r.status, r["ETag"], r["Last-Modified"], r["Content-Type"], r.body


def test_fleet(fleet):
    front, nodes = fleet.front, fleet.nodes
    # names and addresses through the balancer
    info = front.get("/iiif/%s/info.json" % NAME)
    assert info.status == 200 and info.json()["id"] == front.base + "/iiif/" + NAME
    r = front.get("/iiif/" + NAME, {"X-Forwarded-Host": "evil.example", "X-Forwarded-Prefix": "/x", "X-IIIF-ID": "http://evil.example/"})
    assert r.status == 303 and r["Location"] == front.base + "/iiif/%s/info.json" % NAME
    # what one machine makes, all have: the same bytes under the same ETag, though inode and ctime are others
    first = [nodes[0].get(tile(n)) for n in range(12)]
    wait_stored(12, *fleet.memcached)
    others = [[s.get(tile(n)) for n in range(12)] for s in nodes[1:]]
    assert all(r.status == 200 and r["ETag"] for r in first)
    for rows in others:
        assert [alike(r) for r in rows] == [alike(r) for r in first]
    for i in (1, 2):
        assert [x[3] for x in fleet.log(i, 12, ".png")] == ["shared"] * 12
    # through the balancer, whoever answers; then their 304s
    before = [len(fleet.log(i, 12, ".png")) for i in range(3)]
    assert [alike(front.get(tile(n % 12))) for n in range(36)] == [alike(first[n % 12]) for n in range(36)]
    assert [front.get(tile(n), {"If-None-Match": first[n]["ETag"]}).status for n in range(12)] == [304] * 12
    for i in range(3):
        fleet.log(i, before[i] + 1, ".png")


def test_memcached_lost(fleet):
    nodes = fleet.nodes
    first = [nodes[0].get(tile(n)) for n in range(30)]
    wait_stored(30, *fleet.memcached)
    held = [m.stat("curr_items") for m in fleet.memcached]
    fleet.memcached[0].kill()
    for s in nodes[1:]:
        assert [alike(s.get(tile(n))) for n in range(30)] == [alike(r) for r in first]
    shared = [[x[3] for x in fleet.log(i, 30)].count("shared") for i in (1, 2)]
    assert shared[0] >= held[1] + held[2] - 1 and shared[1] >= 28, (held, shared)  # the second finds what the first made again


@pytest.mark.log("AH00957|AH00959|AH01114|AH01102|AH02816|AH03490")
def test_machine_lost(fleet):
    """A machine that is gone costs those requests that it was at work on, and no others."""
    front = fleet.front
    want = [alike(front.get(tile(n))) for n in range(9)]
    os.killpg(fleet.nodes[1].proc.pid, signal.SIGKILL)
    fleet.nodes[1].proc.wait()
    with pytest.raises(ConnectionRefusedError):  # once the last child has let go of the socket
        while True:
            fleet.nodes[1].connect().close()
            time.sleep(0.05)
    got = httpd.parallel(4, lambda n: alike(front.get(tile(n % 9))), range(60))
    assert got == [want[n % 9] for n in range(60)]


def test_channel_moves(fleet, folder, pictures):  # noqa: F811
    """The requests of a JPIP channel meet one machine after the other: no byte twice, none missing."""
    c, front = jc.Cache(), fleet.front
    r = front.get("/movies/m.jp2?cnew=http&len=500")
    cid, path = re.fullmatch(r"cid=([A-Za-z0-9_-]{22}),path=([^,]*),transport=http", r["JPIP-cnew"]).groups()
    c.take(r.body)
    for n in range(1, 200):
        r = front.get("/%s?cid=%s&fsiz=187,141&len=3000" % (path, cid))
        assert r.status == 200
        if c.take(r.body)[1] != 4:
            break
    assert c.doubled == 0 and n > 10
    assert decoded(c, folder) == decode(pictures + "/rpcl-whole-none.jp2")
    for i in range(3):
        fleet.log(i, 2, "cid=")
    tids = {s.get("/movies/m.jp2?len=0&tid=0")["JPIP-tid"] for s in fleet.nodes}
    assert len(tids) == 1 and None not in tids
