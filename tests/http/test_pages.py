# SPDX-License-Identifier: Apache-2.0
"""Pages of a file and parts of their size, by ID;N and ID;N;a:b (spec/iiif.md R51, R12); files as views of one picture."""
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from common import CTX2, links, location, near, refused, shrink
from make_tiff import BLACK0, DEFLATE, RGB, Dir, half, photo, write

REDUCED = {254: (4, [1])}


@pytest.fixture
def pages(folder):
    """Three pages: grey in strips, RGB, and a pyramid of SubIFDs in tiles."""
    px = [photo(120, 80)[..., 0], photo(201, 99)[::-1].copy(), photo(801, 603)]
    levels = [half(px[2]), half(half(px[2]))]
    sub = [Dir(v, RGB, tile=(64, 64), tags=REDUCED, compression=DEFLATE) for v in levels]
    dirs = [Dir(px[0], BLACK0, tags={254: (4, [2])}), Dir(px[1], RGB, tags={254: (4, [2])}),
            Dir(px[2], RGB, tile=(64, 64), sub=sub, compression=DEFLATE)]
    os.makedirs(folder + "/sub", exist_ok=True)
    for name in ("m.tif", "sub/m.tif", "lit.tif", "secret.tif", "a;b.tif"):
        write("%s/%s" % (folder, name), dirs)
    write(folder + "/lit.tif;2", [Dir(px[0][:40, :50], BLACK0)])
    write(folder + "/one.tif", [Dir(px[0], BLACK0)])
    return px


def whole(s, name):
    r = s.get(name + "/full/max/0/default.png")
    assert r.status == 200, (name, r)
    return r.pixels()


@pytest.mark.any_mpm
def test_every_page(serve, folder, pages):
    s = serve(location("/i", folder), fresh=True)
    for name in ("m.tif", "sub/m.tif", "sub%2Fm.tif", "a;b.tif"):
        near(whole(s, "/i/" + name), pages[0], 0, 0)
        for n, px in enumerate(pages, 1):
            for sign in (";", "%3B"):
                got = whole(s, "/i/%s%s%d" % (name, sign, n))
                near(got, px, 0, 0)
            d = s.get("/i/%s;%d/info.json" % (name, n)).json()
            assert (d["width"], d["height"], d["pages"]) == (px.shape[1], px.shape[0], 3)
            assert d["id"] == s.base + "/i/%s;%d" % (name.replace("/", "%2F"), n), d["id"]
    assert s.get("/i/m.tif/info.json").json()["pages"] == 3
    assert "pages" not in s.get("/i/one.tif/info.json").json()
    near(whole(s, "/i/one.tif;1"), pages[0], 0, 0)
    two = s.get("/i/m.tif;2/info.json", {"Accept": 'application/ld+json;profile="%s"' % CTX2}).json()
    assert two["@id"] == s.base + "/i/m.tif;2" and two["pages"] == 3


def test_tiles_of_a_pyramid(serve, folder, pages):
    """Page 3's levels are its own; its tiles are stored ones."""
    s = serve(location("/i", folder), fresh=True)
    d = s.get("/i/m.tif;3/info.json").json()
    assert d["tiles"][0]["width"] == 256 and d["sizes"] == [{"width": w, "height": h} for w, h in ((200, 150), (400, 301), (801, 603))]
    near(s.get("/i/m.tif;3/256,0,256,256/256,256/0/default.png").pixels(), pages[2][:256, 256:512], 0, 0)
    near(s.get("/i/m.tif;3/0,0,512,512/256,256/0/default.png").pixels(), half(pages[2])[:256, :256], 0, 0)


def test_links_and_tags(serve, folder, pages):
    """Canonical links, redirects and tags are the page's own."""
    s = serve(location("/i", folder), fresh=True)
    tags = set()
    for n in ("", ";1", ";2", ";3", ";3;1:2", ";3;1:3"):
        r = s.get("/i/m.tif%s/0,0,30,30/30,30/0/default.png" % n)
        assert r.status == 200
        tags.add(r["ETag"])
        assert links(r)["canonical"] == s.base + "/i/m.tif%s/0,0,30,30/max/0/default.png" % n
        assert s.get("/i/m.tif%s/0,0,30,30/30,30/0/default.png" % n, {"If-None-Match": r["ETag"]}).status == 304
        bare = s.get("/i/m.tif" + n)
        assert bare.status == 303 and bare["Location"] == s.base + "/i/m.tif%s/info.json" % n
        slash = s.get("/i/m.tif%s/" % n)
        assert slash.status == 301 and slash["Location"] == s.base + "/i/m.tif" + n
    assert len(tags) == 6


def test_no_such_page(serve, folder, pages):
    s = serve(location("/i", folder), fresh=True)
    for n in (";4", ";0", ";01", ";-1", ";+1", ";1.0", ";", ";x", ";99999999", ";9999999999999999999", ";1;", ";1;1", ";1;1:", ";1;:2", ";1;2:1",
              ";1;0:1", ";1;1:65", ";1;1:02", ";1;1:2:3", ";;1", ";1;1;1:2", "$1", "!1", ";1;1/2"):
        for tail in ("/info.json", "/full/max/0/default.jpg"):
            refused(s.get("/i/m.tif%s%s" % (n, tail)), 404, "not-found")
    for name in ("none.tif;1", "sub;1", ";1", "sub/;1"):
        assert s.get("/i/%s/info.json" % name).status == 404, name


def test_a_file_of_that_name_wins(serve, folder, pages):
    s = serve(location("/i", folder), fresh=True)
    near(whole(s, "/i/lit.tif;2"), pages[0][:40, :50], 0, 0)
    near(whole(s, "/i/lit.tif;2;1"), pages[0][:40, :50], 0, 0)
    near(whole(s, "/i/lit.tif;3"), pages[2], 0, 0)


@pytest.mark.parametrize("word,sign", [("$", "$"), ("!", "!"), (";", ";"), ("none", None)])
def test_delimiter(serve, folder, pages, word, sign):
    s = serve(location("/i", folder, "IIIFDelimiter " + word), fresh=True)
    for c in ";$!":
        r = s.get("/i/m.tif%s2/info.json" % c)
        if c == sign:
            assert r.status == 200 and r.json()["id"] == s.base + "/i/m.tif%s2" % c
        else:
            refused(r, 404, "not-found")


@pytest.mark.parametrize("page", [1, 2, 3])
def test_parts(serve, folder, pages, page):
    """ID;N;a:b is a picture of its own, sides rounded up; near the average of the area within 3 levels."""
    s = serve(location("/i", folder), fresh=True)
    px = pages[page - 1]
    for a, b in ((1, 1), (1, 2), (2, 3), (1, 4), (63, 64), (1, 64)):
        name = "/i/m.tif;%d;%d:%d" % (page, a, b)
        w, h = -(-px.shape[1] * a // b), -(-px.shape[0] * a // b)
        d = s.get(name + "/info.json").json()
        assert (d["width"], d["height"]) == (w, h) and d["id"] == s.base + name
        assert all(v["width"] <= w and v["height"] <= h for v in d.get("sizes", []))
        got = whole(s, name).astype(float)
        want = shrink(px[..., None] if px.ndim == 2 else px, w, h)
        if 2 * a <= b or a == b:
            near(np.atleast_3d(got), want, *((0, 0) if a == b else (3, 60)))
        for x, y, rw, rh in ((0, 0, w // 2 or 1, h), (w // 3, h // 2, w - w // 3, h - h // 2)):
            r = s.get("%s/%d,%d,%d,%d/max/0/default.png" % (name, x, y, rw, rh))
            assert r.status == 200 and r.size == (rw, rh)
            near(r.pixels().astype(float), got[y:y + rh, x:x + rw], 4, 70)
        refused(s.get("%s/%d,0,9,9/max/0/default.png" % (name, w)), 400)
        refused(s.get("%s/full/%d,/0/default.png" % (name, w + 1)), 400)
        for tile in d["tiles"]:
            for f in tile["scaleFactors"]:
                rw, rh = min(tile["width"] * f, w), min(tile["height"] * f, h)
                r = s.get("%s/0,0,%d,%d/%d,%d/0/default.jpg" % (name, rw, rh, -(-rw // f), -(-rh // f)))
                assert r.status == 200 and r.size == (-(-rw // f), -(-rh // f)), (name, f, r)


@pytest.mark.log("client denied")
def test_rules_of_the_file_hold(serve, folder, pages):
    """What httpd keeps to itself by its name is not to be had as a page."""
    s = serve(location("/i", folder) + '<Location "/i/secret.tif">\nRequire all denied\n</Location>\n'
              '<LocationMatch "^/i/sub/m\\.tif/full">\nRequire all denied\n</LocationMatch>\n'
              '<Location "/i/m.tif">\nIIPMaxSize 50\n</Location>\n', fresh=True)
    for n in ("", ";1", ";2", "%3B1", ";1;1:2", ";9"):
        assert s.get("/i/secret.tif%s/info.json" % n).status == 403, n
        assert s.get("/i/secret.tif%s/full/max/0/default.jpg" % n).status == 403, n
    assert s.get("/i/sub%2Fm.tif;2/full/max/0/default.jpg").status == 403
    assert s.get("/i/sub/m.tif;2/full/max/0/default.jpg").status == 403
    assert s.get("/i/sub/m.tif;2/info.json").status == 200
    assert s.get("/i/m.tif;2/info.json").json()["maxWidth"] == 50
    assert s.get("/i/lit.tif;3/info.json").json()["maxWidth"] == 5000


@pytest.mark.any_mpm
@pytest.mark.log("client denied")
def test_mapped(serve, folder, pages):
    """In a folder under SetHandler."""
    open(folder + "/.htaccess", "w").write("SetHandler iiif-handler\n<Files secret.tif>\nRequire all denied\n</Files>\n")
    s = serve('<Directory "%s">\nAllowOverride All\nRequire all granted\n</Directory>\nAlias /p "%s"\n' % (folder, folder), fresh=True)
    for name in ("m.tif", "sub/m.tif", "a;b.tif"):
        for n, px in enumerate(pages, 1):
            for sign in (";", "%3B"):
                near(whole(s, "/p/%s%s%d" % (name, sign, n)), px, 0, 0)
            d = s.get("/p/%s;%d/info.json" % (name, n)).json()
            assert d["id"] == s.base + "/p/%s;%d" % (name, n) and d["pages"] == 3
            assert (d["width"], d["height"]) == (px.shape[1], px.shape[0])
            r = s.get("/p/%s;%d;1:2/full/max/0/default.jpg" % (name, n))
            assert r.status == 200 and r.size == (-(-px.shape[1] // 2), -(-px.shape[0] // 2))
            assert links(r)["canonical"] == s.base + "/p/%s;%d;1:2/full/max/0/default.jpg" % (name, n)
    near(whole(s, "/p/lit.tif;2"), pages[0][:40, :50], 0, 0)
    for name in ("m.tif;4", "m.tif;0", "none.tif;1", "m.tif;1;2:1", "sub;1", ".htaccess;1"):
        assert s.get("/p/%s/info.json" % name).status in (403, 404), name
    assert s.get("/p/secret.tif;1/info.json").status == 403
    assert s.get("/p/secret.tif;1/full/max/0/default.jpg").status == 403
    assert s.get("/p/m.tif").body == open(folder + "/m.tif", "rb").read()
    assert s.get("/p/m.tif;2").status == 404, "only a file has bytes of its own"


def test_slide(serve, data):
    """As slide scanners write: levels in the chain, with the thumbnail between them; label and overview are pages."""
    s = serve(location("/i"))
    px = np.load(data + "/tiff/expected.npz")["slide"]
    d = s.get("/i/tiff/slide.tif/info.json").json()
    assert d["pages"] == 4 and [v["width"] for v in d["sizes"]] == [75, 150, 301]
    for n, want in ((1, px), (2, half(half(px))), (3, px[:100, :60]), (4, px[20:80, :210])):
        near(whole(s, "/i/tiff/slide.tif;%d" % n), want, 0, 0)
    refused(s.get("/i/tiff/slide.tif;5/info.json"), 404, "not-found")


def test_other_formats_have_one_page(serve, folder, data):
    shutil.copy(data + "/photo.jpg", folder + "/p.jpg")
    s = serve(location("/i", folder), fresh=True)
    a, b = s.get("/i/p.jpg/full/200,/0/default.png"), s.get("/i/p.jpg;1/full/200,/0/default.png")
    assert a.status == 200 and np.array_equal(a.pixels(), b.pixels())
    refused(s.get("/i/p.jpg;2/info.json"), 404, "not-found")
    d = s.get("/i/p.jpg;1;1:8/info.json").json()
    full = s.get("/i/p.jpg/info.json").json()
    assert d["width"] == -(-full["width"] // 8) and "pages" not in d


def test_sequence_that_grows(serve, folder):
    """The folder is read again as soon as it changes."""
    conf = '<Location "/iip">\nSetHandler iip-handler\nIIPRoot "%s"\n%s\n</Location>\n'
    s = serve(conf % (folder, ""))

    def add(name):
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(os.path.join(folder, name))
        os.utime(folder, (1, 10 ** 9 + len(os.listdir(folder))))  # long ago: what was read is kept

    add("other.png")
    for _ in range(2):
        assert s.get("/iip?FIF=w&OBJ=Horizontal-views").status == 404
    add("w_pyr_000_090.png")
    for _ in range(2):
        assert s.get("/iip?FIF=w&OBJ=Horizontal-views").body == b"Horizontal-views:0\r\n"
    add("w_pyr_015_090.png")
    assert s.get("/iip?FIF=w&OBJ=Horizontal-views").body == b"Horizontal-views:0 15\r\n"
    os.remove(os.path.join(folder, "w_pyr_015_090.png"))
    assert s.get("/iip?FIF=w&OBJ=Horizontal-views").body == b"Horizontal-views:0\r\n"
    s = serve(conf % (folder, "IIPSequencePattern _pyr"))
    assert s.get("/iip?FIF=w&OBJ=Horizontal-views").status == 404
