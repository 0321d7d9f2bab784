# SPDX-License-Identifier: Apache-2.0
"""The Internet Imaging Protocol over HTTP: the vectors of spec/iip.md 11, objects byte for byte, errors, methods, names,
views, values of pixels. Pixels are compared with the arrays the pictures were made of."""
import io
import json
import os
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

import make_iip
from common import near, refused, shrink

IIP = '<Location "/iip">\nSetHandler iip-handler\nIIPRoot "{dir0}"\n%s\n</Location>\n'


@pytest.fixture(scope="session")
def pics(work):
    """(folder, arrays)"""
    d = os.path.join(work, "iip-%d" % os.getpid())
    return d, make_iip.make(d)


@pytest.fixture
def iip(serve, pics):
    """iip(query, ...) -> Response of the default server; iip.server is it."""
    s = serve(IIP.replace("{dir0}", pics[0]) % "")

    def get(query, headers=None, method="GET"):
        return s.request(method, "/iip?" + query, headers or {})

    get.server = s
    return get


def lines(r):
    assert r.status == 200, r
    assert r.body.endswith(b"\r\n") or not r.body, r.body
    return r.body.decode("utf-8").split("\r\n")[:-1]


def iip_error(r, status, code=None, shown=None):
    """Error/N:C A with N exact."""
    assert r.status == status, r
    m = re.fullmatch(rb"Error/(\d+):(\d \d) ([^\r\n]*)\r\n", r.body)
    assert m, r.body
    assert int(m[1]) == len(m[2]) + 1 + len(m[3]) and len(m[3]) <= 200, r.body
    assert r["Content-Type"] == "application/vnd.netfpx"
    refused(r, status)
    if code:
        assert m[2].decode() == code, r.body
    if shown is not None:
        assert m[3].decode() == shown, r.body
    return r


# ---- section 11 ----

def test_vector_of_objects(iip):
    r = iip("FIF=v.tif&OBJ=IIP,1.0&OBJ=Max-size&OBJ=Tile-size&OBJ=Resolution-number")
    assert r.body == b"Max-size:2000 1500\r\nTile-size:256 256\r\nResolution-number:4\r\n" and len(r.body) == 60
    assert r["IIP"] == "1.0" and r["Content-Type"] == "application/vnd.netfpx"
    assert r["ETag"] and r["Last-Modified"] and r["Cache-Control"] == "max-age=86400"
    assert r["Access-Control-Allow-Origin"] == "*" and int(r["Content-Length"]) == 60


@pytest.mark.parametrize("query, size, mime", [
    ("JTL=3,0", (256, 256), "image/jpeg"), ("JTL=3,47", (208, 220), "image/jpeg"), ("JTL=0,0", (250, 187), "image/jpeg"),
    ("PTL=3,0", (256, 256), "image/png"), ("WTL=3,0", (256, 256), "image/webp"), ("TTL=3,0", (256, 256), "image/tiff"),
    ("ATL=3,47", None, "image/avif"), ("JTLS=0,3,47,90", (208, 220), "image/jpeg"),
    ("WID=500&CVT=jpeg", (500, 375), "image/jpeg"), ("HEI=200&CVT=jpeg", (267, 200), "image/jpeg"),
    ("WID=500&HEI=100&CVT=JPG", (133, 100), "image/jpeg"), ("WID=99999&CVT=jpeg", (5000, 3750), "image/jpeg"),
    ("RGN=.9,.9,.5,.5&WID=300&CVT=png", (300, 225), "image/png"), ("ROT=90&WID=300&CVT=png", (225, 300), "image/png"),
    ("CVT=webp", (2000, 1500), "image/webp"), ("WID=100&CVT=tif", (100, 75), "image/tiff"), ("WID=64&CVT=bogus", (64, 48), "image/jpeg"),
    ("RGN=0.5,0.5,0.25,0.25&CVT=png", (500, 375), "image/png"),  # none asked: the region's own size
    ("RGN=1,1,.1,.1&CVT=png", (1, 1), "image/png"), ("WID=-5&HEI=junk&CVT=png", (2000, 1500), "image/png"),
    ("RGN=0,0,0,1&WID=100&CVT=png", (100, 75), "image/png"), ("RGN=1,2,3&WID=100&CVT=png", (100, 75), "image/png"),
    ("RGN=-1,-1,.5,.5&CVT=png", (1000, 750), "image/png"), ("RGN=0,0,9,9&WID=40&CVT=png", (40, 30), "image/png"),
    ("RGN=.5,.5,.0001,.0001&CVT=png", (1, 1), "image/png"),
])
def test_vector_of_sizes(iip, query, size, mime):
    r = iip("FIF=v.tif&" + query)
    assert r.status == 200 and r["Content-Type"] == mime, r
    if size:
        assert r.size == size
    assert r.chunked or int(r["Content-Length"]) == len(r.body)  # what is sent while it is made has none


@pytest.mark.parametrize("query, status, code", [
    ("JTL=3,48", 404, "2 1"), ("JTL=4,0", 400, "2 1"), ("JTL=3", 400, "2 1"), ("JTL=3,x", 400, "2 1"), ("JTL=-1,0", 400, "2 1"),
    ("JTL=3,-1", 400, "2 1"), ("JTL=3,0,0", 400, "2 1"), ("JTL=,", 400, "2 1"), ("JTL=3,0x", 400, "2 1"),
    ("JTL=999999999999999999999999,0", 400, "2 1"), ("JTL=3,999999999999999999999999", 404, "2 1"), ("PTL=3,1e1", 400, "2 1"),
    ("JTLS=0,3,0", 400, "2 1"), ("JTLS=30,3,0,90", 404, None), ("JTLS=0,3,0,30", 404, None), ("SDS=1&JTL=0,0", 404, None),
    ("SDS=0,0&JTL=0,0", 404, None), ("SDS=x&JTL=0,0", 400, "2 1"), ("TIL=3,0-48", 404, "2 1"), ("TIL=4,0-1", 400, "2 1"), ("TIL=3", 400, "2 1"),
    ("RGN=nan,0,1,1&CVT=jpeg", 400, "2 1"), ("RGN=0,0,inf,1&CVT=jpeg", 400, "2 1"), ("RGN=0,1e400,1,1&CVT=jpeg", 400, "2 1"), ("GAM=1e999&CVT=jpeg", 400, "2 1"),
    ("MINMAX=0:nan,1&CVT=jpeg", 400, "2 1"), ("CNT=inf&CVT=jpeg", 400, "2 1"), ("SHD=nan,1&CVT=jpeg", 400, "2 1"), ("ROT=nan&CVT=jpeg", 400, "2 1"),
    ("QLT=nan&CVT=jpeg", 400, "2 1"), ("CTW=" + ";".join(["1"] * 17) + "&CVT=jpeg", 400, "2 1"), ("CTW=" + ",".join(["1"] * 65) + "&CVT=jpeg", 400, "2 1"),
    ("OBJ=nonsense", 400, "3 2"), ("FOO=1", 400, "2 2"), ("WID=300", 400, "2 1"), ("", 400, "2 1"), ("OBJ=title", 404, "3 2"),
    ("WID=%zz&CVT=jpeg", 400, "2 1"), ("WID=1%00&CVT=jpeg", 400, "2 1"),
    ("SPECTRA=3,0,256,0", 400, "2 1"), ("SPECTRA=3,48,0,0", 404, "2 1"), ("SPECTRA=4,0,0,0", 400, "2 1"), ("SPECTRA=3,0,0", 400, "2 1"),
    ("PFL=3:0,0-2001,0", 400, "2 1"), ("PFL=3:0,1500", 400, "2 1"), ("PFL=3:0,0-5,5", 400, "2 1"), ("PFL=4:0,0", 400, "2 1"), ("PFL=3,0,0", 400, "2 1"),
    ("&".join(["WID=1"] * 70) + "&CVT=jpeg", 400, "2 1"),
])
def test_bad_requests(iip, query, status, code):
    iip_error(iip("FIF=v.tif&" + query), status, code)


@pytest.mark.parametrize("query", ["", "&", "&&"])
def test_empty_request(iip, query):
    r = iip(query)
    assert r.status == 200 and r["Content-Type"].startswith("text/plain") and r.body


@pytest.mark.parametrize("query, status, code", [
    ("CVT=jpeg", 400, "1 3"), ("JTL=0,0&FIF=v.tif", 400, "1 3"), ("MINMAX=0:0,1&FIF=v.tif&CVT=jpeg", 400, "1 3"), ("OBJ=Max-size", 400, "1 3"),
    ("SPECTRA=0,0,0,0", 400, "1 3"), ("PFL=0:0,0", 400, "1 3"), ("FIF=nope.tif&CVT=jpeg", 404, "1 3"), ("FIF=nope.tif&OBJ=Max-size", 404, "1 3"),
    ("FIF=../v.tif&CVT=jpeg", 404, "1 3"), ("FIF=//v.tif&CVT=jpeg", 404, "1 3"), ("FIF=dir/../v.tif&CVT=jpeg", 404, "1 3"),
    ("FIF=v%00.tif&CVT=jpeg", 404, "1 3"), ("FIF=v%5c.tif&CVT=jpeg", 404, "1 3"), ("FIF=%zz&CVT=jpeg", 404, "1 3"), ("FIF=dir&CVT=jpeg", 404, "1 3"),
    ("FIF=.htaccess&CVT=jpeg", 404, "1 3"), ("FIF=v.tif%0d%0aX:y&CVT=jpeg", 404, "1 3"), ("FIF=%s&CVT=jpeg" % ("x" * 1500), 404, "1 3"),
    ("FIF=v%252etif&CVT=jpeg", 404, "1 3"),
])
def test_names_and_order(iip, query, status, code):
    iip_error(iip(query), status, code)


def test_commands_in_order(iip, pics):
    px = pics[1]["v"]
    assert iip("FIF=nope.tif&FIF=v.tif&WID=100&CVT=png").size == (100, 75)  # the last one before use
    assert iip("FIF=v.tif&WID=100&WID=50&CVT=png").size == (50, 38)
    assert iip("FIF=v.tif&CVT=png&WID=50").size == (2000, 1500)  # too late
    assert iip("FIF=v.tif&WID=60&CVT=png&JTL=0,0&OBJ=Max-size").size == (60, 45)  # the first answers
    assert iip("FIF=v.tif&OBJ=Max-size&WID=60&CVT=png").size == (60, 45)
    assert lines(iip("FIF=v.tif&OBJ=Max-size&FIF=u8.tif")) == ["Max-size:2000 1500"]
    assert iip("fif=v.tif&wId=60&FO%0aO=7&cvt=PNG").size == (60, 45)
    assert "IIP0002: unknown command FO%0aO" in iip.server.logtext()
    assert iip("FIF=v.tif&WID=&HEI=30&CVT=png").size == (40, 30)  # an empty value means nothing
    assert lines(iip("FIF=v.tif&ROT=90&OBJ=Max-size&ROT=180&OBJ=Max-size")) == ["Max-size:1500 2000", "Max-size:2000 1500"]
    near(iip("FIF=v.tif&PTL=3,9").pixels(), px[256:512, 256:512], 0, 0)
    near(iip("FIF=%2Fv%2etif&PTL=3,9").pixels(), px[256:512, 256:512], 0, 0)
    assert iip("FIF=dir/v.tif&PTL=3,9").status == 200


# ---- objects ----

def test_objects(iip):
    r = iip("FIF=v.tif&OBJ=Resolutions&obj=BITS-PER-CHANNEL&OBJ=min-max-sample-values&OBJ=horizontal-views&OBJ=Vertical-views"
            "&OBJ=Colorspace,*,*&OBJ=IIP-server&OBJ=IIP-opt-comm&OBJ=IIP-opt-obj")
    assert r.body == (
        b"Resolutions:250 187,500 375,1000 750,2000 1500\r\nBits-per-channel:8\r\n"
        b"Min-Max-sample-values: 0  255  0  255  0  255\r\nHorizontal-views:0\r\nVertical-views:90\r\n"
        b"Colorspace,0-3,0:0 0 3 3 0 1 2\r\nIIP-server:3.65\r\n"
        b"IIP-opt-comm:CVT CNT QLT JTL JTLS WID HEI RGN MINMAX SHD CMP INV CTW PTL WTL ATL TTL TIL ROT GAM COL CNV LYR SDS PFL SPECTRA\r\n"
        b"IIP-opt-obj:Horizontal-views Vertical-views Tile-size Bits-per-channel Min-Max-sample-values Resolutions DPI Stack Metadata\r\n")
    assert lines(iip("FIF=v.tif&OBJ=basic-info")) == ["IIP-server:3.65", "Max-size:2000 1500", "Resolution-number:4",
                                                     "Colorspace,0-3,0:0 0 3 3 0 1 2"]
    r = iip("FIF=v.tif&OBJ=Max-size&OBJ=foo%09bar&OBJ=Tile-size&OBJ=baz")
    assert r.status == 200 and lines(r) == ["Max-size:2000 1500", "Tile-size:256 256", "Error/11:3 2 foo?bar"]
    assert lines(iip("OBJ=IIP-server&OBJ=Max-size")) == ["IIP-server:3.65", "Error/12:1 3 Max-size"]
    assert iip("FIF=v.tif&OBJ=IIP,1.0").body == b""
    assert lines(iip("FIF=u16.tif&OBJ=Bits-per-channel&OBJ=Min-Max-sample-values&OBJ=Colorspace")) == [
        "Bits-per-channel:16", "Min-Max-sample-values: 0  65535", "Colorspace,0-3,0:0 0 1 1 0"]
    assert lines(iip("FIF=f32.tif&OBJ=Min-Max-sample-values&OBJ=Bits-per-channel")) == ["Min-Max-sample-values: 0  1  0  1",
                                                                                   "Bits-per-channel:32"]
    assert lines(iip("FIF=bilevel.tif&OBJ=Bits-per-channel&OBJ=Min-Max-sample-values&OBJ=Colorspace")) == [
        "Bits-per-channel:1", "Min-Max-sample-values: 0  255", "Colorspace,0-3,0:0 0 1 1 0"]
    assert lines(iip("FIF=five.tif&OBJ=Colorspace,*,*")) == ["Colorspace,0-1,0:0 0 1 1 0"]
    assert lines(iip("FIF=s16.tif&OBJ=Min-Max-sample-values")) == ["Min-Max-sample-values: -32768  32767"]
    assert lines(iip("FIF=u32.tif&OBJ=Min-Max-sample-values")) == ["Min-Max-sample-values: 0  %.9g" % 4294967295]
    assert lines(iip("FIF=v.jpg&OBJ=Tile-size&OBJ=Resolutions")) == ["Tile-size:256 256", "Resolutions:250 187,500 375,1000 750,2000 1500"]


def test_metadata(iip, serve, pics):
    r = iip("FIF=texts.tif&OBJ=DPI")
    x, y = map(float, lines(r)[0][4:].split(" "))
    assert abs(x - 300 / 0.0254) < 1e-3 and x == y
    assert lines(iip("FIF=v.tif&OBJ=Max-size&OBJ=title")) == ["Max-size:2000 1500"]  # absent: no line
    r = iip("FIF=texts.tif&OBJ=summary-info")
    assert lines(r) == ["(c) me", 'A "view" <of> Zürich', "An Artist", "2020:02:03 04:05:06", "paint \\ 3"]
    assert r["Content-Type"] == "text/plain; charset=utf-8"
    for name, want in (("rights", "(c) me"), ("creator", "An Artist"), ("title", "Title & more"), ("keywords", "one, two"),
                       ("make", "Cam"), ("last-save-dtm", "2021-01-01")):
        assert lines(iip("FIF=texts.tif&OBJ=" + name)) == [want]
    for name in ("model", "comment", "edit-time", "last-author", "scale"):
        iip_error(iip("FIF=texts.tif&OBJ=" + name), 404, "3 2", name)
    r = iip("FIF=texts.tif&OBJ=metadata")
    assert r["Content-Type"] == "application/json" and r.body.startswith(b"{ \n\t\"") and r.body.endswith(b"\n}\r\n")
    assert r.json()["description"] == 'A "view" <of> Zürich' and r.json()["software"] == "paint \\ 3" and len(r.json()) == 9
    assert iip("FIF=v.tif&OBJ=metadata").body == b"{}\r\n"
    own = serve(IIP.replace("{dir0}", pics[0]) % 'IIPCopyright "(c) the archive"')
    for name in ("v", "texts"):
        assert own.get("/iip?FIF=%s.tif&OBJ=rights" % name).body == b"(c) the archive\r\n"
        assert own.get("/iip?FIF=%s.tif&OBJ=metadata" % name).json()["rights"] == "(c) the archive"
    r = iip("FIF=texts.tif&OBJ=xmp")
    assert r["Content-Type"] == "application/xml" and r.body == pics[1]["xmp"]
    for q, body in (("OBJ=xmp&OBJ=date", pics[1]["xmp"] + b"\r\n2020:02:03 04:05:06\r\n"), ("OBJ=stack&OBJ=foo", b"[]\r\nError/7:3 2 foo\r\n"),
                    ("OBJ=Tile-size&OBJ=title", b"Tile-size:64 64\r\nTitle & more\r\n")):
        r = iip("FIF=texts.tif&" + q)
        assert r["Content-Type"] == "text/plain; charset=utf-8" and r.body == body


# ---- HTTP ----

def test_methods(iip):
    s = iip.server
    q = b"FIF=v.tif&WID=100&CVT=png"
    get = iip(q.decode())
    assert get["Content-Disposition"] == 'inline; filename="v_100x75.png"'
    for target in ("/iip", "/iip?"):
        r = s.request("POST", target, {"Content-Type": "application/x-www-form-urlencoded"}, q)
        assert r.status == 200 and r.body == get.body and r["Content-Disposition"] == 'attachment; filename="v_100x75.png"'
    r = s.request("POST", "/iip?FIF=v.tif&OBJ=Max-size", {}, q)  # the query counts
    assert r.body == b"Max-size:2000 1500\r\n"
    for how in ({"Content-Length": "70000"}, {"Transfer-Encoding": "chunked", "Content-Length": None}):
        body = b"x" * 70000 if how.get("Content-Length") else b"11170\r\n" + b"x" * 0x11170 + b"\r\n0\r\n\r\n"
        iip_error(s.request("POST", "/iip", how, body), 413)
    r = s.request("POST", "/iip", {}, b"")
    assert r.status == 200 and r["Content-Type"].startswith("text/plain")
    head = iip(q.decode(), method="HEAD")
    assert head.status == 200 and head.body == b"" and head["ETag"] == get["ETag"] and head["Content-Length"] == get["Content-Length"]
    head = iip("FIF=v.tif&OBJ=Max-size", method="HEAD")
    assert head.status == 200 and head.body == b"" and head["Content-Length"] == "20"
    r = iip(q.decode(), method="OPTIONS")
    assert r.status == 204 and r["Access-Control-Allow-Methods"] == "GET, HEAD, POST, OPTIONS" == r["Allow"]
    for m in ("PUT", "DELETE", "PATCH"):
        r = iip_error(iip(q.decode(), method=m), 405)
        assert r["Allow"] == "GET, HEAD, POST, OPTIONS"


def test_long_query(serve, pics):
    s = serve("LimitRequestLine 100000\n" + IIP.replace("{dir0}", pics[0]) % "")
    iip_error(s.get("/iip?FIF=v.tif&WID=100&X=" + "y" * 17000 + "&CVT=jpeg"), 414)


def test_conditions(iip):
    for q in ("FIF=v.tif&JTL=3,0", "FIF=v.tif&OBJ=Max-size", "FIF=v.tif&WID=33&CVT=png", "FIF=v.tif&PFL=0:0,0", "FIF=v.tif&TIL=1,0-1"):
        r = iip(q)
        again = iip(q, {"If-None-Match": r["ETag"]})
        assert again.status == 304 and not again.body and again["ETag"] == r["ETag"] and again["Cache-Control"], q
        assert again["Access-Control-Allow-Origin"] == "*"
        assert iip(q, {"If-Modified-Since": r["Last-Modified"]}).status == 304
        assert iip(q, {"If-None-Match": '"x"', "If-Modified-Since": r["Last-Modified"]}).status == 200
        assert iip(q, {"If-Modified-Since": "junk"}).status == 200
    tags = [iip("FIF=v.tif&" + q)["ETag"] for q in ("OBJ=Max-size", "OBJ=Tile-size", "JTL=3,0", "JTL=3,1", "QLT=20&JTL=3,0", "PTL=3,0",
                                                    "JTL=2,0", "CNT=2&JTL=3,0", "ROT=90&JTL=3,0")]
    assert len(set(tags)) == len(tags)
    r = iip("FIF=v.tif&PTL=3,0", {"Range": "bytes=0-9"})
    assert r.status == 206 and len(r.body) == 10


# ---- tiles ----

def test_tiles(iip, pics):
    """Every tile of the stored levels by numbers; virtual levels, flat files and JPEG by their shape."""
    px = pics[1]["v"]
    nx = 8
    for n in (0, 7, 8, 47, 40):
        x, y = n % nx * 256, n // nx * 256
        near(iip("FIF=v.tif&PTL=3,%d" % n).pixels(), px[y:y + 256, x:x + 256], 0, 0)
        near(iip("FIF=flat.tif&PTL=3,%d" % n).pixels(), px[y:y + 256, x:x + 256], 0, 0)
    for name in ("v.tif", "flat.tif", "v.jpg"):
        for r, (w, h) in enumerate(((250, 187), (500, 375), (1000, 750))):
            whole = shrink(px, w, h)
            across, down = -(-w // 256), -(-h // 256)
            for n in range(across * down):
                x, y = n % across * 256, n // across * 256
                near(iip("FIF=%s&PTL=%d,%d" % (name, r, n)).pixels(), whole[y:y + 256, x:x + 256], 1.5, 6)
            iip_error(iip("FIF=%s&PTL=%d,%d" % (name, r, across * down)), 404)


def test_wavelets(iip, pics):
    """Levels of JPEG 2000 are rounded up, and shown in tiles of 256; LYR counts its layers."""
    assert lines(iip("FIF=w.jp2&OBJ=Tile-size&OBJ=Resolutions")) == ["Tile-size:256 256", "Resolutions:251 188,501 376,1001 751"]
    px = pics[1]["w"]
    all_layers = iip("FIF=w.jp2&PTL=2,5").pixels()
    near(all_layers, px[256:512, 256:512], 1, 6)
    for same in ("LYR=3&", "LYR=99&", "LYR=0&", "LYR=x&"):
        near(iip("FIF=w.jp2&%sPTL=2,5" % same).pixels(), all_layers, 0, 0)
    rough = iip("FIF=w.jp2&LYR=1&PTL=2,5").pixels()
    near(rough, px[256:512, 256:512], 8, 80)
    assert (rough != all_layers).any()
    assert iip("FIF=w.jp2&JTL=2,11").size == (233, 239)
    got = iip("FIF=w.jp2&PFL=2:7,9-27,9").json()["profile"]
    near(np.array(got), px[9, 7:27].ravel(), 2, 8)


def test_stored_tiles_pass(iip, pics):
    """Bytes of a stored JPEG tile leave as they are, whatever was asked before; not with a quality."""
    one = iip("FIF=vj.tif&JTL=3,9").body
    data = open(os.path.join(pics[0], "vj.tif"), "rb").read()
    scan = one[one.index(b"\xff\xda"):]
    assert scan in data
    iip("FIF=vj.tif&PTL=3,9")
    assert iip("FIF=vj.tif&JTL=3,9").body == one
    assert iip("FIF=vj.tif&QLT=75&JTL=3,9").body not in data and b"\xff\xda" in one
    for other in ("QLT=75", "QLT=90", "INV=1", "ROT=180", "GAM=2", "COL=grey"):
        assert scan not in iip("FIF=vj.tif&%s&JTL=3,9" % other).body, other
    for same in ("CNT=1", "GAM=1", "ROT=0", "ROT=45", "CMP=none", "QLT=junk", "SDS=0,90", "ICC=1"):
        assert iip("FIF=vj.tif&%s&JTL=3,9" % same).body == one, same


def test_tiles_carry_no_texts(iip):
    """The smallest tile may be the whole picture; what the picture says of itself goes with views alone."""
    assert b"An Artist" in iip("FIF=texts.tif&CVT=jpeg").body and b"Title &amp;" in iip("FIF=texts.tif&CVT=jpeg").body
    for q in ("JTL=0,0", "DeepZoom=texts.tif_files/7/0_0.jpg", "DeepZoom=texts.tif_files/3/0_0.png"):
        r = iip(("" if "Deep" in q else "FIF=texts.tif&") + q)
        assert r.status == 200 and b"An Artist" not in r.body and b"dc:title" not in r.body, q


def test_turned_tiles(iip, pics):
    px = pics[1]["v"]
    for n in (0, 7, 47):
        m = 47 - n
        there = px[m // 8 * 256:m // 8 * 256 + 256, m % 8 * 256:m % 8 * 256 + 256]
        near(iip("FIF=v.tif&ROT=180&PTL=3,%d" % n).pixels(), there[::-1, ::-1], 0, 0)
    own = px[1280:, 1792:]
    near(iip("FIF=v.tif&ROT=90&PTL=3,47").pixels(), np.rot90(own, -1), 0, 0)
    near(iip("FIF=v.tif&ROT=-90&PTL=3,47").pixels(), np.rot90(own, 1), 0, 0)
    near(iip("FIF=v.tif&ROT=450&PTL=3,47").pixels(), np.rot90(own, -1), 0, 0)
    near(iip("FIF=v.tif&ROT=!0&PTL=3,47").pixels(), own[:, ::-1], 0, 0)
    near(iip("FIF=v.tif&ROT=!90&PTL=3,47").pixels(), np.rot90(own[:, ::-1], -1), 0, 0)
    near(iip("FIF=v.tif&ROT=45&PTL=3,47").pixels(), own, 0, 0)
    iip_error(iip("FIF=v.tif&ROT=180&PTL=3,48"), 404)


def tiles_of(body):
    out = []
    while body:
        m = re.match(rb"Tile,(\d+),(\d+),0/(\d+):", body)
        assert m, body[:40]
        n = int(m[3])
        data = body[m.end():m.end() + n]
        assert data[:8] == bytes((2, 0, 0, 0, 0, 0x11, 0, 0)) and body[m.end() + n:m.end() + n + 2] == b"\r\n"
        out.append((int(m[1]), int(m[2]), data[8:]))
        body = body[m.end() + n + 2:]
    return out


def test_til(iip):
    r = iip("FIF=v.tif&TIL=3,10-19")
    assert r.status == 200 and r["Content-Type"] == "application/vnd.netfpx"
    t = tiles_of(r.body)
    assert [n for _, n, _ in t] == [10, 18, 11, 19] and all(q == 3 for q, _, _ in t)
    for _, n, data in t:
        assert data == iip("FIF=v.tif&JTL=3,%d" % n).body
    assert [n for _, n, _ in tiles_of(iip("FIF=v.tif&TIL=3,19-10").body)] == [10, 18, 11, 19]
    assert [n for _, n, _ in tiles_of(iip("FIF=v.tif&TIL=3,18-11").body)] == [10, 18, 11, 19]
    assert [n for _, n, _ in tiles_of(iip("FIF=v.tif&TIL=0,0-0").body)] == [0]
    assert len(tiles_of(iip("FIF=v.tif&TIL=3,0-47").body)) == 48
    assert Image.open(io.BytesIO(tiles_of(iip("FIF=f32.tif&TIL=0,0-0").body)[0][2])).format == "JPEG"


# ---- views ----

def test_views(iip, pics):
    px = pics[1]["v"]
    near(iip("FIF=v.tif&CVT=png").pixels(), px, 0, 0)
    near(iip("FIF=v.tif&RGN=.25,.5,.25,.25&CVT=png").pixels(), px[750:1125, 500:1000], 0, 0)
    near(iip("FIF=v.tif&WID=500&CVT=png").pixels(), shrink(px, 500, 375), 1.5, 6)
    near(iip("FIF=v.tif&RGN=.25,.5,.25,.25&WID=125&CVT=png").pixels(), shrink(px[750:1125, 500:1000], 125, 94), 2, 8)
    near(iip("FIF=v.tif&RGN=1,0,.5,1&CVT=png").pixels(), px[:, 1999:], 0, 0)  # the last column, no read outside
    near(iip("FIF=v.tif&ROT=!90&RGN=0,0,.1,.1&CVT=png").pixels(), np.rot90(px[:150, :200][:, ::-1], -1), 0, 0)
    near(iip("FIF=v.tif&RGN=%2e1,1e-1,0.30000000000000004,3e-1&CVT=png").pixels(), px[150:600, 200:800], 0, 0)


def test_size_rules(iip):
    """Section 5, all forms, against the formulas in exact fractions."""
    from fractions import Fraction as F
    from math import floor

    def rnd(v):
        return max(1, floor(v + F(1, 2)))

    for rgn in ((0, 0, 1, 1), (F(1, 10), F(1, 5), F(3, 10), F(7, 10)), (F(7, 10), 0, F(9, 10), F(1, 3))):
        text = ["%.12f" % v for v in map(float, rgn)]
        x, y, w, h = (min(max(F(v), 0), 1) for v in text)
        w, h = min(w, 1 - x), min(h, 1 - y)
        rw, rh = w * 2000, h * 1500
        for wid, hei in ((0, 0), (123, 0), (0, 77), (200, 50), (50, 200), (1, 0), (0, 1), (300, 300)):
            if wid and hei:
                size = (rnd(hei * rw / rh), hei) if F(wid) / rw > F(hei) / rh else (wid, rnd(wid * rh / rw))
            elif wid:
                size = (wid, rnd(wid * rh / rw))
            elif hei:
                size = (rnd(hei * rw / rh), hei)
            else:
                size = (floor((x + w) * 2000 + F(1, 2)) - floor(x * 2000 + F(1, 2)),
                        floor((y + h) * 1500 + F(1, 2)) - floor(y * 1500 + F(1, 2)))
            q = "FIF=v.tif&RGN=" + ",".join(text)
            q += "&WID=%d&HEI=%d&CVT=jpeg" % (wid, hei)
            assert iip(q).size == size, q


def test_upscaling_off_and_limits(serve, pics):
    s = serve(IIP.replace("{dir0}", pics[0]) % "IIPUpscaling Off")
    assert s.get("/iip?FIF=flatrgb.tif&WID=500&CVT=png").size == (128, 128)
    assert s.get("/iip?FIF=flatrgb.tif&RGN=0,0,.5,.25&HEI=500&CVT=png").size == (64, 32)
    assert s.get("/iip?FIF=flatrgb.tif&WID=50&CVT=png").size == (50, 50)
    s = serve(IIP.replace("{dir0}", pics[0]) % "IIPMaxSize 600")
    assert s.get("/iip?FIF=v.tif&WID=5000&CVT=png").size == (600, 450)
    assert s.get("/iip?FIF=v.tif&CVT=png").size == (600, 450)
    assert s.get("/iip?FIF=v.tif&RGN=0,0,.5,1&HEI=900&CVT=png").size == (400, 600)


# ---- values ----

@pytest.mark.parametrize("name, most", [("u8", 255), ("u16", 65535), ("u32", 1), ("f32", 1), ("f64", 1), ("s16", 1), ("five", 65535)])
def test_spectra(iip, pics, name, most):
    px = pics[1][name]
    px = px.reshape(px.shape[:2] + (-1,))
    R = int(lines(iip("FIF=%s.tif&OBJ=Resolution-number" % name))[0].split(":")[1])
    for tile, x, y in ((0, 0, 0), (1, 3, 5)):
        r = iip("FIF=%s.tif&SPECTRA=%d,%d,%d,%d" % (name, R - 1, tile, x, y))
        v = float(px[y, tile * 64 + x, 0]) / most
        assert r["Content-Type"] == "application/xml"
        assert r.body.decode() == ('<?xml version="1.0" encoding="UTF-8"?>\n<spectra>\n\t<point>\n\t\t<wavelength>0</wavelength>\n'
                                   "\t\t<reflectance>%f</reflectance>\n\t</point>\n</spectra>" % v)


@pytest.mark.parametrize("name", ["u8", "u16", "u32", "f32", "f64", "s16", "five"])
def test_profiles(iip, pics, name):
    px = pics[1][name]
    px = px.reshape(px.shape[:2] + (-1,))
    h, w = px.shape[:2]
    R = int(lines(iip("FIF=%s.tif&OBJ=Resolution-number" % name))[0].split(":")[1]) - 1
    for arg, want in (("5,7-31,7", px[7, 5:31]), ("5,7-5,%d" % h, px[7:, 5]), ("3,4", px[4:5, 3]), ("0,0-%d,0" % w, px[0]), ("9,9-9,9", px[9:10, 9])):
        r = iip("FIF=%s.tif&PFL=%d:%s" % (name, R, arg))
        assert r["Content-Type"] == "application/json"
        got = r.json()["profile"]
        if px.dtype.kind == "f":
            assert np.allclose(got, want.ravel(), rtol=0, atol=6e-10), arg
        else:
            assert got == [int(v) for v in want.ravel()], arg
    assert re.fullmatch(rb'\{\n\t"profile": \[[^]]*\]\n\}', r.body)


def test_values_of_virtual_levels(iip, pics):
    """A level that is not stored: values out of the middle of what each pixel stands for."""
    got = iip("FIF=u8.tif&PFL=0:0,0-%d,0" % 50).json()["profile"]
    sizes = lines(iip("FIF=u8.tif&OBJ=Resolutions"))[0][12:].split(",")
    w, h = map(int, sizes[0].split())
    px = pics[1]["u8"]
    want = [int(v) for i in range(50) for v in px[(h > 0) * int(0.5 * 300 / h), int((i + 0.5) * 400 / w)]]
    assert got == want


def test_stack(iip, pics):
    page = [pics[1]["stack%d" % i] for i in range(3)]
    assert iip("FIF=stack.tif&OBJ=stack").json() == [{"id": 0, "name": 'red "1"', "scale": 0.5}, {"id": 1, "name": "<green>", "scale": 1},
                                                    {"id": 2, "name": "blue", "scale": 1.5}]
    assert iip("FIF=v.tif&OBJ=stack").json() == []
    assert lines(iip("FIF=stack.tif&OBJ=Horizontal-views&OBJ=Vertical-views")) == ["Horizontal-views:0 1 2", "Vertical-views:90"]
    sizes = lines(iip("FIF=stack.tif&OBJ=Resolution-number"))
    R = int(sizes[0].split(":")[1]) - 1
    for i in range(3):
        want = page[i][:32, :32] >> 8
        near(iip("FIF=stack.tif&SDS=%d,90&PTL=%d,0" % (i, R)).pixels(), want, 0.6, 1)
        near(iip("FIF=stack.tif&JTLS=%d,%d,0,90" % (i, R)).pixels(), want, 8, 80)
    iip_error(iip("FIF=stack.tif&SDS=3,90&PTL=0,0"), 404)
    x = ET.fromstring(iip("FIF=stack.tif&SPECTRA=%d,0,3,2" % R).body.decode())
    assert [p.find("wavelength").text for p in x] == ['red "1"', "<green>", "blue"]
    assert [p.find("reflectance").text for p in x] == ["%f" % (page[i][2, 3] / 65535) for i in range(3)]
    got = iip("FIF=stack.tif&PFL=%d:1,2-4,2" % R).json()["profile"]
    assert list(got) == ['red "1"', "<green>", "blue"]
    for i, name in enumerate(got):
        assert np.allclose(got[name], page[i][2, 1:4] * (0.5 * (i + 1)), atol=1e-9)


def test_sequence(iip, serve, pics):
    assert lines(iip("FIF=dir/thing&OBJ=Horizontal-views&OBJ=Vertical-views&OBJ=Max-size")) == [
        "Horizontal-views:0 10 20", "Vertical-views:0 30 90", "Max-size:64 64"]
    for sds, v in (("", 90), ("SDS=0,90&", 90), ("SDS=10&", 100), ("SDS=20,90&", 110), ("SDS=0,30&", 30), ("SDS=SDS=10,90&", 100)):
        assert iip("FIF=dir/thing&%sPTL=0,0" % sds).pixels().max() == v, sds
    for sds in ("10,30", "40,90", "5,90", "60", "70", "99999999999"):
        iip_error(iip("FIF=dir/thing&SDS=%s&PTL=0,0" % sds), 404)
    for name in ("both", "dir/thin", "dir/thing_pyr_", "dir/nope", "nope/thing", "dir/t*", "dir/thing%5bx"):
        iip_error(iip("FIF=%s&PTL=0,0" % name), 404)
    x = ET.fromstring(iip("FIF=dir/thing&SPECTRA=0,0,1,1").body.decode())
    assert [(p.find("wavelength").text, p.find("reflectance").text) for p in x] == [
        (str(h), "%f" % ((h + 90) / 255)) for h in (0, 10, 20)]
    assert iip("FIF=dir/thing&PFL=0:0,0").json()["profile"] == {"0": [90], "10": [100], "20": [110]}
    s = serve(IIP.replace("{dir0}", pics[0]) % "IIPSequencePattern _p")
    assert s.get("/iip?FIF=dir/thing&PTL=0,0").status == 404


def test_suffix(serve, pics):
    s = serve(IIP.replace("{dir0}", pics[0]) % "IIPSuffix .tif")
    assert s.get("/iip?FIF=v&WID=50&CVT=png").size == (50, 38)
    assert s.get("/iip?FIF=v.tif&WID=50&CVT=png").status == 404
    assert s.get("/iip?FIF=dir/thing&PTL=0,0").status == 200  # sequences have their own


# ---- section 12 ----

def test_what_clients_send(iip):
    r = iip("FIF=v.tif&obj=IIP,1.0&obj=Max-size&obj=Tile-size&obj=Resolution-number&obj=Resolutions&obj=dpi")  # IIPMooViewer
    t = r.body.decode()
    assert t.split("Max-size:")[1].split("\r\n")[0].split(" ") == ["2000", "1500"]
    assert t.split("Tile-size:")[1].split("\r\n")[0].split(" ") == ["256", "256"]
    assert int(t.split("Resolution-number:")[1].split("\r\n")[0]) == 4
    assert [e.split(" ") for e in t.split("Resolutions:")[1].split("\r\n")[0].split(",")][0] == ["250", "187"]
    assert float(t.split("DPI:")[1].split(" ")[0]) > 0
    for q in ("CNT=1.0&SDS=0,90&JTL=3,0", "CNT=1&SDS=0,90&ROT=90&GAM=1.2&JTL=3,0", "SHD=45,30&WTL=3,0", "WID=128&QLT=98&CVT=jpeg",
              "WID=400&HEI=300&RGN=0.1,0.2,0.3,0.4&CVT=jpeg",  # a view, a thumbnail
              "SDS=0,90&CNT=1.2&GAM=1.5&INV&COL=grey&CTW=[1,0,0;0,1,0;0,0,1]&CNV=[0,-1,0,-1,5,-1,0,-1,0]&QLT=90&CMP=jet&MINMAX=-:0,200&JTL=3,0",
              "MINMAX=1,10,200&MINMAX=2,10,200&MINMAX=3,10,200&CMP=grey&GAM=1&JTL=2,3"):
        assert iip("FIF=/v.tif&" + q).status == 200, q
    assert lines(iip("FIF=v.tif&obj=bits-per-channel&obj=min-max-sample-values"))[0].startswith("Bits-per-channel:")  # Leaflet-IVV


def test_other_protocols_in_a_query(iip):
    assert iip("DeepZoom=v.tif.dzi").body.startswith(b"<Image ")
    assert iip("DeepZoom=/v.tif_files/11/7_5.jpg").size == (208, 220)
    assert b'NUMTILES="65"' in iip("zoomify=v.tif/ImageProperties.xml").body
    assert iip("Zoomify=v.tif//TileGroup0/3-0-0.jpg").size == (256, 256)
    for path in ("DeepZoom=v.tif.dzi", "DeepZoom=v.tif_files/11/7_5.jpg", "Zoomify=v.tif/ImageProperties.xml", "Zoomify=v.tif/TileGroup0/3-0-0.jpg"):
        assert iip(path + "?t=17").body == iip(path + "&t=17").body == iip(path).body
        assert iip(path.replace("v.tif", "v.tif?t=17")).status == iip(path + "%3ft=17").status == 404
    info = iip("IIIF=v.tif/info.json").json()
    assert info["id"].endswith("/iip?IIIF=/v.tif") and info["width"] == 2000
    assert iip("IIIF=" + info["id"].split("IIIF=")[1] + "/full/100,/0/default.png").size == (100, 75)
    plain, more = (iip(q + "DeepZoom=v.tif_files/11/0_0.png").pixels().astype(float) for q in ("", "INV=1&"))
    near(more, 255 - plain, 0.6, 1)


def test_path_form(iip):
    s = iip.server
    for path in ("/iip/v.tif&WID=300&CVT=jpeg", "/iip/v.tif?WID=300&CVT=jpeg", "/iip/?FIF=v.tif&WID=300&CVT=jpeg"):
        assert s.get(path).size == (300, 225), path
    assert s.get("/iip/dir/v.tif&OBJ=Max-size").body == b"Max-size:2000 1500\r\n"


# ---- httpd's own mapping ----

def site(s, pics):
    """Pictures in the site's own folders."""
    top = os.path.join(s.dir, "htdocs")
    for folder in ("pics", "plain", "closed", "app"):
        os.makedirs(os.path.join(top, folder), exist_ok=True)
        os.system("cp -r '%s'/v.tif '%s'/u8.tif '%s'/dir '%s/%s/'" % (pics[0], pics[0], pics[0], top, folder))
    open(os.path.join(top, "pics", ".htaccess"), "w").write("SetHandler iip-handler\n")
    open(os.path.join(top, "closed", ".htaccess"), "w").write("Require all denied\n")
    open(os.path.join(top, "pics", "page.html"), "w").write("<p>page</p>")
    open(os.path.join(top, "pics", "form.sh"), "w").write("#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\ncat\n")
    os.chmod(os.path.join(top, "pics", "form.sh"), 0o755)


SITE = """<Directory "{dir}/htdocs">
AllowOverride All
Options +ExecCGI
AddHandler cgi-script .sh
</Directory>
<Location "/app">
SetHandler server-of-others
</Location>
"""


@pytest.mark.log("AH01630")
def test_mapped(serve, pics):
    s = serve(SITE, fresh=True)
    site(s, pics)
    for path in ("/pics/v.tif?WID=100&CVT=png", "/pics/?FIF=/pics/v.tif&WID=100&CVT=png", "/pics/any?FIF=pics/v.tif&WID=100&CVT=png",
                 "/pics/?FIF=plain/v.tif&WID=100&CVT=png", "/pics/u8.tif?FIF=pics/v.tif&WID=100&CVT=png"):
        r = s.get(path)
        assert r.status == 200 and r.size == (100, 75), (path, r)
    assert lines(s.get("/pics/v.tif?OBJ=Max-size")) == ["Max-size:2000 1500"]
    assert s.request("POST", "/pics/", {}, b"FIF=pics/v.tif&OBJ=Max-size").body == b"Max-size:2000 1500\r\n"
    assert s.request("POST", "/pics/v.tif", {}, b"OBJ=Max-size").body == b"Max-size:2000 1500\r\n"
    assert s.request("OPTIONS", "/pics/v.tif?OBJ=Max-size").status == 204
    # what is not ours stays what it was
    assert s.get("/pics/page.html?WID=100&CVT=png").body == b"<p>page</p>"
    assert s.get("/pics/v.tif").body == open(os.path.join(pics[0], "v.tif"), "rb").read() == s.get("/pics/v.tif?v=17").body
    assert s.request("POST", "/pics/form.sh", {}, b"FIF=pics/v.tif&OBJ=Max-size").body == b"FIF=pics/v.tif&OBJ=Max-size"
    # httpd's rules hold for names in a query
    assert s.get("/pics/?FIF=closed/v.tif&WID=100&CVT=png").status == 403
    iip_error(s.get("/pics/?FIF=app/v.tif&WID=100&CVT=png"), 404)
    for name in ("pics/nope.tif", "pics", "../v.tif", "pics/.htaccess", "pics/../../v.tif", "pics//v.tif"):
        iip_error(s.get("/pics/?FIF=%s&WID=100&CVT=png" % name), 404)
    assert s.get("/pics/?FIF=pics/page.html&WID=100&CVT=png").status == 415
    # sequences and stems
    assert lines(s.get("/pics/?FIF=pics/dir/thing&OBJ=Horizontal-views")) == ["Horizontal-views:0 10 20"]
    assert s.get("/pics/?FIF=pics/dir/thing&SDS=10&PTL=0,0").pixels().max() == 100
    assert s.get("/pics/?FIF=pics/dir/thing&PFL=0:0,0").json()["profile"] == {"0": [90], "10": [100], "20": [110]}
    assert s.get("/pics/?DeepZoom=pics/v.tif.dzi").body.startswith(b"<Image ")
    assert json.loads(s.get("/pics/?IIIF=pics/v.tif/info.json").body)["id"].endswith("/pics?IIIF=/pics%2Fv.tif")
