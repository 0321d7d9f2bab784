# SPDX-License-Identifier: Apache-2.0
"""PURGE: a picture that every child forgets, whichever of its URLs is named; by whom, and who is refused."""
import os
import re
import shutil
import time

import pytest

from common import location, refused
from stores import cached, wait_stored  # noqa: F401

FORMAT = 'LogFormat "%{begin:usec}t %P %m %>s %{iip-cache}n" iip\nCustomLog "{dir}/access.log" iip\n'
TILE = "/i/a.tif/7,7,40,40/40,/0/default.png"

@pytest.fixture
def own(folder, data):
    shutil.copy(data + "/b.tif", folder + "/a.tif")
    return folder


def place(path, handler, root, *lines):
    return '<Location "%s">\nSetHandler %s-handler\nIIPRoot "%s"\nIIPStatus On\n%s\n</Location>\n' % (path, handler, root, "\n".join(lines))


def log(s, n):
    """The n requests so far: (child, method, status, where the picture came from)."""
    for _ in range(200):
        with open(s.dir + "/access.log") as f:
            lines = re.findall(r"^(\d+) (\d+) (\S+) (\d+) (\S+)$", f.read(), re.M)
        if len(lines) >= n:
            assert len(lines) == n
            return [x[1:] for x in sorted(lines, key=lambda x: int(x[0]))]
        time.sleep(0.05)
    raise AssertionError("%d lines in the access log" % len(lines))


def forgotten(r):
    assert r.status == 200 and r["Content-Type"] == "text/plain; charset=utf-8", r
    assert r["Cache-Control"] == "no-store" and b"Forgotten" in r.body


@pytest.mark.any_mpm
def test_every_child_forgets(own, serve):
    s = serve(place("/i", "iiif", own) + FORMAT, fresh=True, children=2, threads=4)
    want = s.get(TILE)
    for _ in range(30):
        assert s.get(TILE).body == want.body
    for again in range(3):
        forgotten(s.request("PURGE", "/i/a.tif"))
        for _ in range(30):
            r = s.get(TILE)
            assert r.status == 200 and r.body == want.body and r["ETag"] == want["ETag"]
    knows = set()
    for child, method, status, came in log(s, 31 + 3 * 31):
        assert status == "200"
        if method == "PURGE":
            knows = set()
        else:
            assert came == ("hit" if child in knows else "miss")
            knows.add(child)


def test_any_url_of_it(own, serve):
    """Whichever protocol named it: the same file is forgotten, and no other."""
    site = "".join([place("/i", "iiif", own), place("/z", "zoomify", own), place("/d", "deepzoom", own), place("/q", "iip", own),
                    place("/j", "jpip", own)])
    s = serve(site + FORMAT, fresh=True)
    shutil.copy(own + "/a.tif", own + "/other.tif")
    urls = ["/i/a.tif", "/i/a.tif/", "/i/a.tif/info.json", TILE, "/i/a.tif/full/max/0/default.jpg", "/i/a.tif/9999,9999,1,1/max/0/default.jpg",
            "/d/a.tif.dzi", "/d/a.tif_files/8/0_0.jpg", "/z/a.tif/ImageProperties.xml", "/z/a.tif/TileGroup0/0-0-0.jpg",
            "/q?FIF=a.tif", "/q?FIF=a.tif&JTL=0,0", "/q?IIIF=a.tif/info.json"]
    other = TILE.replace("a.tif", "other.tif")
    n = 2
    assert s.get(TILE).status == s.get(other).status == 200
    for url in urls:
        forgotten(s.request("PURGE", url))
        assert s.get(TILE).status == s.get(other).status == 200
        n += 3
    for i, (_, method, _, came) in enumerate(log(s, n)[2:]):
        assert (method, came) == (("PURGE", "-"), ("GET", "miss"), ("GET", "hit"))[i % 3]
    forgotten(s.request("PURGE", "/j?target=a.tif"))
    forgotten(s.request("PURGE", "/j/a.tif"))
    refused(s.request("PURGE", "/i/none.tif/info.json"), 404)
    refused(s.request("PURGE", "/i/..%2Fa.tif"), 404)
    refused(s.request("PURGE", "/q"), 404)
    refused(s.request("PURGE", "/q?OBJ=IIP,1.0"), 404)


def test_mapped(own, serve):
    """A folder of the site with a .htaccess: plain names and all below them."""
    s = serve('<Directory "{dir}/htdocs">\nAllowOverride FileInfo\nIIPStatus On\n</Directory>\n' + FORMAT, fresh=True)
    os.makedirs(s.dir + "/htdocs/p")
    shutil.copy(own + "/a.tif", s.dir + "/htdocs/p/a.tif")
    with open(s.dir + "/htdocs/p/.htaccess", "w") as f:
        f.write("SetHandler iiif-handler\n")
    with open(s.dir + "/htdocs/p/page.html", "w") as f:
        f.write("<p>a page")
    tile, n = TILE.replace("/i/", "/p/"), 1
    assert s.get(tile).status == 200
    for url in ("/p/a.tif", "/p/a.tif/info.json", tile):
        forgotten(s.request("PURGE", url))
        assert s.get(tile).status == s.get(tile).status == 200
        n += 3
    assert [came for *_, came in log(s, n)] == ["miss"] + ["-", "miss", "hit"] * 3
    assert "PURGE" in s.request("OPTIONS", "/p/a.tif")["Allow"].replace(" ", "").split(",")
    assert s.request("PURGE", "/p/page.html").status == 405
    assert s.request("PURGE", "/p/none.tif/info.json").status == 404


def test_only_where_status_is_on(own, serve):
    s = serve(location("/i", own) + place("/on", "iiif", own) + FORMAT, fresh=True)
    assert s.get(TILE).status == 200
    r = s.request("PURGE", "/i/a.tif")
    assert r.status == 405 and r.error == "method" and r["Allow"] == "GET, HEAD, OPTIONS"
    assert s.request("OPTIONS", "/i/a.tif")["Allow"] == "GET, HEAD, OPTIONS"
    r = s.request("OPTIONS", "/on/a.tif")
    assert r["Allow"] == "GET, HEAD, OPTIONS, PURGE" and "PURGE" not in (r["Access-Control-Allow-Methods"] or "")
    assert s.request("DELETE", "/on/a.tif")["Allow"] == "GET, HEAD, OPTIONS, PURGE"
    assert s.get(TILE).status == 200
    assert [c for *_, c in log(s, 6)] == ["miss"] + ["-"] * 4 + ["hit"]


@pytest.mark.log("AH01630", "AH01623")
def test_access_rules(own, serve):
    """Rules of the place, for this method alone if they say so; other modules know it too."""
    limit = "<Limit PURGE>\nRequire ip 192.0.2.1\n</Limit>"
    s = serve(place("/i", "iiif", own, limit) + place("/m", "iiif", own, "AllowMethods GET") + place("/n", "iiif", own, "AllowMethods GET PURGE") + FORMAT,
              modules=("allowmethods",), fresh=True)
    assert s.get(TILE).status == 200
    for url in ("/i/a.tif", "/i/a.tif/info.json", "/i%2Fa.tif", "/i/a.tif%3B2", TILE):
        assert s.request("PURGE", url).status in (403, 404), url
    assert s.request("PURGE", "/i/a.tif").status == 403
    assert s.request("PURGE", "/m/a.tif").status == 405
    assert s.get(TILE).status == 200
    assert log(s, 9)[-1][-1] == "hit"
    forgotten(s.request("PURGE", "/n/a.tif"))
    assert s.get(TILE).status == 200
    assert log(s, 11)[-1][-1] == "miss"


@pytest.mark.any_mpm
@pytest.mark.log("AH00171|AH00163|AH00094|AH00493|AH0123|AH0124")
def test_memcached_forgets_too(own, serve, cached):
    """Through a graceful restart: what was stored under the old generation is not found."""
    m = cached()
    s = serve("IIPMemcachedDeadline 5s\n" + "IIPMemcached 127.0.0.1:%d\nIIPCacheSize 0 0\n" % m.port + place("/i", "iiif", own) + FORMAT, fresh=True)
    if s.single:
        pytest.skip("one process")
    want = s.get(TILE).body
    wait_stored(1, m)
    assert s.get(TILE).body == want
    forgotten(s.request("PURGE", "/i/a.tif"))
    old = set(s.child_pids())
    s.graceful()
    for _ in range(400):
        if not old & set(s.child_pids()):
            break
        time.sleep(0.05)
    assert s.get(TILE).body == want
    wait_stored(2, m)
    assert s.get(TILE).body == want
    assert [c for *_, c in log(s, 5)] == ["miss", "shared", "-", "miss", "shared"]


@pytest.mark.log("AH01630", "IIP0002")
def test_shows_nothing(own, serve):
    """Where a rule is for GET alone, as <Limit GET POST> is, PURGE is no other way to see the picture."""
    asks = "".join('<Location "/iip%s">\nSetHandler iip-handler\nIIPStatus %s\n</Location>\n' % (on, on) for on in ("On", "Off"))
    hidden = "<Limit GET POST>\nRequire all denied\n</Limit>\n</Location>\n"
    s = serve(asks + '<Location "/off">\nIIPStatus Off\n%s<Location "/on">\n%s' % (hidden, hidden.replace("</Loc", "IIPStatus On\n</Loc"))
              + place("/i", "iiif", own) + '<Location "/i/sub">\nIIPStatus Off\n' + hidden
              + place("/j", "jpip", own) + '<Location "/j/sub">\nIIPStatus Off\n' + hidden, fresh=True)
    for folder in ("off", "on"):
        os.makedirs(s.dir + "/htdocs/" + folder)
        shutil.copy(own + "/a.tif", s.dir + "/htdocs/%s/a.tif" % folder)
    os.makedirs(own + "/sub")
    shutil.copy(own + "/a.tif", own + "/sub/a.tif")
    for on in ("On", "Off"):
        for folder in ("on", "off"):
            for url in ("/iip%s?FIF=/%s/a.tif&CVT=jpeg", "/iip%s?FIF=/%s/a.tif&OBJ=max-size", "/iip%s?IIIF=/%s/a.tif/info.json"):
                assert s.get(url % (on, folder)).status == 403
                r = s.request("PURGE", url % (on, folder))
                if folder == "on":
                    forgotten(r)
                else:
                    refused(r, 405)
    assert s.get("/i/sub/a.tif/full/max/0/default.jpg").status == s.get("/i/sub%2Fa.tif/full/max/0/default.jpg").status == 403
    for url in ("/i/sub/a.tif/full/max/0/default.jpg", "/i/sub%2Fa.tif/full/max/0/default.jpg", "/i/sub%2Fa.tif/info.json",
                "/j/sub%2Fa.tif?fsiz=9,9"):
        refused(s.request("PURGE", url), 405)


@pytest.mark.log("IIP0002")
def test_other_methods_of_named_files(own, serve):
    s = serve('<Location "/q">\nSetHandler iip-handler\n</Location>\n', fresh=True)
    shutil.copy(own + "/a.tif", s.dir + "/htdocs/a.tif")
    assert s.get("/q?FIF=/a.tif&CVT=jpeg").status == s.request("POST", "/q?FIF=/a.tif&CVT=jpeg").status == 200
    for method in ("PUT", "DELETE", "PURGE"):
        refused(s.request(method, "/q?FIF=/a.tif&CVT=jpeg"), 405)
    assert s.request("OPTIONS", "/q?FIF=/a.tif&CVT=jpeg").status == 204
