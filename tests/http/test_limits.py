# SPDX-License-Identifier: Apache-2.0
"""Limits at limit - 1, limit and limit + 1 (spec/security.md 2.4, 4, 6)."""
import os
import shutil
import time

import pytest

from common import location, refused
from httpd import parallel

CONF = (location("/side", "{data}", "IIPMaxSize 500", "IIPMaxArea 0") + location("/sides", "{data}", "IIPMaxSize 600 300", "IIPMaxArea 0")
        + location("/area", "{data}", "IIPMaxSize 0", "IIPMaxArea 250000") + location("/px", "{data}", "IIPMaxPixels 1000000")
        + location("/px1", "{data}", "IIPMaxPixels 999999") + location("/fast", "{data}", "IIPTimeout 1ms")
        + location("/calm", "{data}", "IIPTimeout 20s") + location("/turn", "{data}", "IIPMaxSize 0", "IIPMaxArea 1000000"))


@pytest.mark.parametrize("loc,size,status", [
    ("side", "499,", 200), ("side", "500,", 200), ("side", "501,", 400), ("side", ",500", 200), ("side", ",501", 400), ("side", "500,500", 200),
    ("side", "501,1", 400), ("side", "1,501", 400), ("side", "pct:50", 200), ("side", "pct:50.1", 400), ("side", "^501,", 400),
    ("sides", "600,300", 200), ("sides", "601,300", 400), ("sides", "600,301", 400), ("sides", ",300", 200), ("sides", ",301", 400),
    ("area", "500,500", 200), ("area", "499,501", 200), ("area", "500,501", 400), ("area", "501,500", 400), ("area", "1000,250", 200),
    ("area", "1000,251", 400), ("area", "500,", 200), ("area", "501,", 400), ("area", "^2500,100", 200), ("area", "^2500,101", 400)])
def test_size_and_area(serve, loc, size, status):
    r = serve(CONF).get("/%s/squares.tif/full/%s/0/default.jpg" % (loc, size))
    if status == 200:
        assert r.status == 200
    else:
        refused(r, 400, "limit")


@pytest.mark.parametrize("loc,region,size,want", [
    ("side", "full", "max", (500, 500)), ("side", "full", "^max", (500, 500)), ("side", "full", "!900,900", (500, 500)),
    ("side", "full", "^!900,900", (500, 500)), ("side", "0,0,1000,10", "max", (500, 5)), ("side", "0,0,400,300", "max", (400, 300)),
    ("side", "0,0,400,300", "^max", (500, 375)), ("side", "0,0,1000,1", "max", (500, 1)), ("sides", "full", "max", (300, 300)),
    ("sides", "0,0,1000,200", "max", (600, 120)), ("area", "full", "max", (500, 500)), ("area", "0,0,1000,500", "max", (707, 353)),
    ("area", "0,0,100,1", "^max", (5000, 50)), ("area", "full", "!600,600", (500, 500))])
def test_brought_under(serve, loc, region, size, want):
    """R20: max and !w,h are brought under the limits, with the aspect kept and never 0."""
    r = serve(CONF).get("/%s/squares.tif/%s/%s/0/default.jpg" % (loc, region, size))
    assert r.status == 200 and r.size == want, r


def test_source_pixels(serve):
    s = serve(CONF)
    assert s.get("/px/squares_flat.tif/full/100,/0/default.jpg").status == 200
    refused(s.get("/px1/squares_flat.tif/full/100,/0/default.jpg"), 400, "limit")
    assert s.get("/px1/squares_flat.tif/0,0,1000,400/100,/0/default.jpg").status == 200
    assert s.get("/px1/squares.tif/full/400,/0/default.jpg").status == 200, "a smaller level of the file serves"
    assert s.get("/px1/squares_flat.tif/info.json").status == 200


def test_rotated_canvas(serve):
    """At most twice IIPMaxArea (R26)."""
    s = serve(CONF)
    assert s.get("/turn/squares.tif/full/1000,1000/45/default.jpg").status == 200  # 1414^2 = 2.0 Mpx
    assert s.get("/turn/a.tif/full/5000,200/0/default.jpg").status == 200
    refused(s.get("/turn/a.tif/full/5000,200/45/default.jpg"), 400, "limit")  # 3677^2 = 13 Mpx


@pytest.mark.slow
def test_memory_limit_is_sharp(serve):
    """One byte less than the estimate is refused, the estimate itself is served; monotonous between."""
    tail = "squares.tif/full/max/90/default.png"
    lo, hi = 1 << 12, 1 << 28
    while hi - lo > 1:
        steps = sorted({lo + (hi - lo) * i // 41 for i in range(1, 41)} - {lo, hi})
        if not steps:
            break
        s = serve("".join(location("/m%d" % m, "{data}", "IIPMaxMemory %d" % m) for m in steps), fresh=True)
        status = [s.get("/m%d/%s" % (m, tail)).status for m in steps]
        s.complaints([".*"])
        s.stop()
        assert set(status) <= {200, 400}, "over the estimate is 400, under it is served: %s" % dict(zip(steps, status))
        assert status == sorted(status, reverse=True), "more memory, never less served"
        k = status.index(200) if 200 in status else len(steps)
        hi = steps[k] if k < len(steps) else hi
        lo = steps[k - 1] if k else lo
    s = serve(location("/lo", "{data}", "IIPMaxMemory %d" % lo) + location("/hi", "{data}", "IIPMaxMemory %d" % hi))
    refused(s.get("/lo/" + tail), 400, "limit")
    assert s.get("/hi/" + tail).status == 200
    assert hi >= 3000000, "a turned megapixel of RGB is held whole: %d" % hi


@pytest.mark.slow
@pytest.mark.any_mpm
def test_memory_of_one_request(serve):
    """The child's peak stays under IIPMaxMemory and its caches, also for the largest export."""
    s = serve("IIPCacheSize 1M 1M\n" + location("/i", "{data}", "IIPMaxMemory 64M"), fresh=True)
    s.get("/i/photo.tif/full/10,/0/default.jpg")
    base = s.rss()
    for path in ("/i/big.tif/full/^5000,/0/default.jpg", "/i/big.tif/full/4999,/0/default.png", "/i/big.jpg/full/4000,/0/default.png",
                 "/i/a.tif/full/5000,/0/default.jpg", "/i/a.tif/0,0,6000,2000/5000,/0/default.png"):
        r = s.get(path, timeout=120)
        assert r.status == 200 and not r.broken, (path, r)
        r.image()
    peak = 0
    for p in s.child_pids():
        peak += int([x.split()[1] for x in open("/proc/%d/status" % p) if x.startswith("VmHWM")][0])
    assert peak - base < (64 + 8) * 1024, (peak, base)


@pytest.mark.log(r"\[iip:")
def test_timeout(serve):
    s = serve(CONF)
    refused(s.get("/fast/big.tif/full/^4000,/33/default.png"), 503, "timeout")
    refused(s.get("/fast/a.tif/full/1999,/0/default.png"), 503, "timeout")
    r = s.get("/fast/a.tif/full/5000,/0/default.jpg")  # streams
    assert r.status == 503 and r.error == "timeout" or r.status == 200 and r.broken, r
    assert s.get("/calm/a.tif/full/1999,/0/default.png").status == 200
    assert s.get("/fast/b.tif/full/10,/0/default.jpg").status in (200, 503)


@pytest.mark.threaded
@pytest.mark.slow
@pytest.mark.log(r"\[iip:")
def test_line_is_full(serve):
    """IIPMaxDecodes 1 1: of many different large requests at once some are told 503 busy at once; nobody waits for ever."""
    s = serve("IIPMaxDecodes 1 1\n" + location("/i"), fresh=True)
    paths = ["/i/big.tif/full/^%d,/33/default.jpg" % n for n in range(2400, 2412)]

    def ask(p):
        t = time.time()
        r = s.get(p)
        return r, time.time() - t

    got = parallel(12, ask, paths)
    status = [r.status for r, _ in got]
    assert set(status) == {200, 503} and status.count(200) >= 2, status
    for r, t in got:
        if r.status == 503:
            refused(r, 503, "busy")
            assert r["Retry-After"] == "1" and t < 1, t
        else:
            r.image()
    assert s.get(paths[0]).status == 200


@pytest.mark.threaded
def test_equal_requests_share_one_place(serve):
    """Those who wait for the same answer hold no place and are not busy."""
    s = serve("IIPMaxDecodes 1 1\n" + location("/i"), fresh=True)
    got = parallel(12, s.get, ["/i/big.tif/full/^1800,/33/default.jpg"] * 12)
    assert [r.status for r in got] == [200] * 12 and len({r.body for r in got}) == 1


# ---- .htaccess may lower, never raise (security.md 6.2)


@pytest.fixture
def tree(folder, data):
    for sub, text in (("plain", ""), ("lower", "IIPMaxSize 300"), ("raise", "IIPMaxSize 900"), ("none", "IIPMaxSize 0"),
                      ("lower/raise", "IIPMaxSize 400"), ("lower/lower", "IIPMaxSize 200"), ("lower/plain", ""), ("lower/none", "IIPMaxSize 0 0"),
                      ("wide", "IIPMaxSize 400 100"), ("raise/lower", "IIPMaxSize 350")):
        os.makedirs("%s/%s" % (folder, sub), exist_ok=True)
        open("%s/%s/.htaccess" % (folder, sub), "w").write("SetHandler iiif-handler\n" + text + "\n")
        shutil.copy(data + "/squares.tif", "%s/%s/s.tif" % (folder, sub))
    return folder


@pytest.mark.parametrize("sub,most", [("plain", 500), ("lower", 300), ("raise", 500), ("none", 500), ("lower/raise", 300), ("lower/lower", 200),
                                      ("lower/plain", 300), ("lower/none", 300), ("raise/lower", 350)])
def test_htaccess_only_lowers(serve, tree, sub, most):
    s = serve("""<Directory "%s">
AllowOverride FileInfo
Require all granted
IIPMaxSize 500
</Directory>
Alias /t "%s"
""" % (tree, tree), fresh=True)
    p = "/t/%s/s.tif/" % sub
    assert s.get(p + "info.json").json()["maxWidth"] == most
    assert s.get(p + "full/max/0/default.jpg").size == (most, most)
    assert s.get(p + "full/%d,/0/default.jpg" % most).status == 200
    refused(s.get(p + "full/%d,/0/default.jpg" % (most + 1)), 400, "limit")
    d = s.get("/t/wide/s.tif/info.json").json()
    assert (d["maxWidth"], d["maxHeight"]) == (400, 100)


def test_administrator_zero_is_no_limit(serve, tree):
    """0 counts as largest: a .htaccess may then set any value."""
    s = serve("""<Directory "%s">
AllowOverride FileInfo
Require all granted
IIPMaxSize 0
</Directory>
Alias /t "%s"
""" % (tree, tree), fresh=True)
    assert s.get("/t/raise/s.tif/info.json").json()["maxWidth"] == 900
    assert s.get("/t/lower/raise/s.tif/info.json").json()["maxWidth"] == 300
    assert "maxWidth" not in s.get("/t/plain/s.tif/info.json").json()


def test_two_users(serve, folder, data):
    """security.md 6.5: what changes bytes is in every key: same file, other looks, each his own, in any order."""
    shutil.copy(data + "/alpha.tif", folder + "/x.tif")
    for user, text in (("a", "IIPBackground ff0000"), ("b", "IIPBackground 0000ff"), ("c", "")):
        os.makedirs("%s/%s" % (folder, user))
        open("%s/%s/.htaccess" % (folder, user), "w").write("SetHandler iiif-handler\n" + text + "\n")
        os.link(folder + "/x.tif", "%s/%s/x.tif" % (folder, user))
    s = serve("""<Directory "%s">
AllowOverride FileInfo
Require all granted
</Directory>
Alias /t "%s"
""" % (folder, folder), fresh=True)
    want = {"a": (255, 0, 0), "b": (0, 0, 255), "c": (255, 255, 255)}
    for user in "abcabccba":
        px = s.get("/t/%s/x.tif/full/max/0/default.jpg" % user).pixels("RGB")[:, 0].mean(0)
        assert abs(px - want[user]).max() < 12, (user, px)
    tags = {s.get("/t/%s/x.tif/full/max/0/default.jpg" % u)["ETag"] for u in "abc"}
    assert len(tags) == 3
