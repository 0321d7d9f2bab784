# SPDX-License-Identifier: Apache-2.0
"""Grammar of the image URI (spec/iiif.md R3 to R28): what is taken, what is refused, and that spellings are the same."""
import pytest

from common import location, refused

CONF = (location("/3", "{data}", "IIIFVersions 3") + location("/2", "{data}", "IIIFVersions 2")
        + location("/1", "{data}", "IIIFVersions 1") + location("/off", "{data}", "IIIFLiteralSlash Off")
        + location("/noup", "{data}", "IIPUpscaling Off") + location("/noup2", "{data}", "IIPUpscaling Off", "IIIFVersions 2")
        + location("/n", "{data}/names"))
SYNTAX, EITHER = "syntax", ("syntax", "range", "limit")

BAD_REGION = """FULL Full fulll ful square, sq 1e2,0,100,100 -1,0,10,10 +1,0,1,1 0,0,10 0,0,10,10,10 0,0,10, ,0,10,10 0,,10,10 0.5,0,1,1
%200,0,1,1 0,0,1,1%20 0,0,2147483648,1 0,0,99999999999999999999,1 18446744073709551616,0,1,1 pct: pct:1,2,3 pct:-1,0,10,10 pct:1e1,0,10,10
pct:1..2,0,1,1 pct:.,0,1,1 pct:0,0,1,1,1 pct:nan,0,1,1 pct:inf,0,1,1 PCT:0,0,10,10 pct0,0,10,10 0x1,0,1,1 0;0;1;1 max ^full !full
0,0,1,1%00 0,0,1,1%0a""".split()
OUT_OF_REGION = """0,0,0,10 0,0,10,0 0,0,0,0 1000,0,10,10 0,1000,1,1 2147483647,0,1,1 pct:0,0,0,10 pct:0,0,10,0 pct:100,0,10,10
pct:0,100,10,10 pct:150,0,1,1""".split()
GOOD_REGION = {"full": (1000, 1000), "square": (1000, 1000), "0,0,1,1": (1, 1), "0,0,2147483647,2147483647": (1000, 1000),
               "900,950,200,200": (100, 50), "999,999,5,5": (1, 1), "pct:0,0,100,100": (1000, 1000), "pct:.5,.5,50,50": (500, 500),
               "pct:5.,0,10,10": (100, 100), "pct:0,0,200,200": (1000, 1000), "00,000,0100,0100": (100, 100),
               "pct:33.333,33.333,33.333,33.333": (334, 334), "pct:0,0,0.001,0.001": (1, 1), "pct:99.99,0,1,1": (1, 10),
               "pct:0.05,0,10,10": (100, 100)}


def ask(s, tail, version="3"):
    return s.get("/%s/squares.tif/%s" % (version, tail))


@pytest.mark.parametrize("region", BAD_REGION)
@pytest.mark.parametrize("version", "32")
def test_bad_region(serve, region, version):
    r = ask(serve(CONF), region + "/max/0/default.jpg", version)
    if "%00" in region and r.error is None:
        assert r.status in (400, 404)  # httpd's own refusal of a NUL
        return
    refused(r, 400, EITHER if "9999" in region or "184467" in region else SYNTAX)
    assert b"region" in r.body, "the body names the part that was wrong"


@pytest.mark.parametrize("region", OUT_OF_REGION)
def test_region_outside(serve, region):
    refused(ask(serve(CONF), region + "/max/0/default.jpg"), 400, ("range", "syntax"))


@pytest.mark.parametrize("region", GOOD_REGION)
def test_good_region(serve, region):
    r = ask(serve(CONF), region + "/max/0/default.png")
    assert r.status == 200 and r.size == GOOD_REGION[region], r


# pct:33.333 of 1000: edges 333.33 -> 333 and 666.66 -> 667 (R16, both edges rounded)

BAD_SIZE3 = """full FULL MAX , 0, ,0 0,0 !0,100 !100,0 pct:0 pct:101 pct: pct:1e1 pct:-1 pct:+1 !^100,100 ^^max ^full ^ !100, !,100 ! 100 1e2,
-100, +100, 1001, ,1001 1001,1000 1000,1001 100,^50 100,100,100 100,100, 2147483648, 99999999999999999999, ^, ^0, ^pct:0 ^pct: ^!, %20100,
100,%20 pct:100.0001 100.5, 1,1! max^ !max""".split()
BAD_SIZE2 = """^max ^100, FULL , 0, ,0 0,0 !0,100 pct:0 pct: !^1,1 ^ !100, 100 1e2, -1, 100,100,100 2147483648, sizes""".split()
OVER3 = ["^5001,", "^,5001", "^5001,1", "^pct:501", "^5000,5001"]
GOOD_SIZE3 = {"max": (1000, 1000), "^max": (5000, 5000), "500,": (500, 500), ",500": (500, 500), "100,50": (100, 50),
              "pct:50": (500, 500), "pct:100": (1000, 1000), "pct:0.01": (1, 1), "!200,100": (100, 100), "!100,200": (100, 100),
              "!5000,100": (100, 100), "!2000,2000": (1000, 1000), "^1500,": (1500, 1500), "^!1500,1200": (1200, 1200),
              "^pct:150": (1500, 1500), "^100,": (100, 100), "^pct:10": (100, 100), "1,1000": (1, 1000), "1,": (1, 1),
              "pct:33.3": (333, 333), "pct:.5": (5, 5), "^!200,100": (100, 100), "0100,": (100, 100)}
GOOD_SIZE2 = {"full": (1000, 1000), "max": (1000, 1000), "1100,": (1100, 1100), ",1200": (1200, 1200), "pct:110": (1100, 1100),
              "1100,900": (1100, 900), "!1500,1200": (1200, 1200), "!300,500": (300, 300), "pct:10": (100, 100)}


@pytest.mark.parametrize("size", BAD_SIZE3)
def test_bad_size_3(serve, size):
    r = refused(ask(serve(CONF), "full/%s/0/default.jpg" % size), 400, EITHER)
    assert b"size" in r.body


@pytest.mark.parametrize("size", BAD_SIZE2)
def test_bad_size_2(serve, size):
    refused(ask(serve(CONF), "full/%s/0/default.jpg" % size, "2"), 400, EITHER)


@pytest.mark.parametrize("size", OVER3)
def test_size_over_limits(serve, size):
    refused(ask(serve(CONF), "full/%s/0/default.jpg" % size), 400, "limit")


@pytest.mark.parametrize("size", GOOD_SIZE3)
def test_good_size_3(serve, size):
    r = ask(serve(CONF), "full/%s/0/default.jpg" % size)
    assert r.status == 200 and r.size == GOOD_SIZE3[size], r


@pytest.mark.parametrize("size", GOOD_SIZE2)
def test_good_size_2(serve, size):
    r = ask(serve(CONF), "full/%s/0/default.jpg" % size, "2")
    assert r.status == 200 and r.size == GOOD_SIZE2[size], r


def test_upscaling_off(serve):
    s = serve(CONF)
    for size in ("^1001,", "^,1001", "^pct:100.1", "^1500,10", "^2000,2000"):
        refused(s.get("/noup/squares.tif/full/%s/0/default.jpg" % size), 501, "feature")
    for size, want in (("^max", 1000), ("^1000,", 1000), ("^pct:50", 500), ("^!3000,3000", None), ("!3000,3000", 1000)):
        r = s.get("/noup/squares.tif/full/%s/0/default.jpg" % size)
        if want is None:
            assert r.status in (200, 501), r
            continue
        assert r.status == 200 and r.size == (want, want), (size, r)
    for size in ("1001,", "pct:101", "2000,2000"):
        refused(s.get("/noup2/squares.tif/full/%s/0/default.jpg" % size), (400, 501))
    assert s.get("/noup2/squares.tif/full/!2000,2000/0/default.jpg").size == (1000, 1000)


@pytest.mark.parametrize("region,size,want", [
    ("0,0,999,777", ",100", (129, 100)),  # R17: 128.57, not floor
    ("0,0,999,777", "100,", (100, 78)),  # 77.78
    ("0,0,1000,1", "100,", (100, 1)),  # R17: 0.1 is clamped
    ("0,0,1,1000", ",100", (1, 100)),
    ("0,0,3,2", "pct:50", (2, 1)),  # 1.5 rounds up
    ("0,0,200,300", "!100,100", (67, 100)),  # 66.67
    ("0,0,300,200", "!100,100", (100, 67)),
    ("0,0,999,1000", "!100,100", (100, 100)),  # 99.9 rounds to 100, never over
])
def test_rounding(serve, region, size, want):
    r = ask(serve(CONF), "%s/%s/0/default.png" % (region, size))
    assert r.status == 200 and r.size == want, r


BAD_ROTATION = "-1 361 360.1 360.0001 90junk +90 1e1 ! !!0 !%200 0,5 NaN inf 0x10 !-1 !361 9999999999 1.2.3 1..2 90! 0%20 abc".split()
GOOD_ROTATION = {"0": (100, 50), "360": (100, 50), "0.0": (100, 50), "!90": (50, 100), "00": (100, 50), "90.": (50, 100),
                 "90.000": (50, 100), "270": (50, 100), "180": (100, 50), "!180": (100, 50), "!360": (100, 50), "45": (106, 106),
                 ".5": (100, 51), "359.5": (100, 51)}


@pytest.mark.parametrize("rotation", BAD_ROTATION)
def test_bad_rotation(serve, rotation):
    r = refused(ask(serve(CONF), "full/100,50/%s/default.jpg" % rotation), 400, EITHER)
    assert b"rotation" in r.body


@pytest.mark.parametrize("rotation", GOOD_ROTATION)
def test_good_rotation(serve, rotation):
    r = ask(serve(CONF), "full/100,50/%s/default.png" % rotation)
    assert r.status == 200 and r.size == GOOD_ROTATION[rotation], r


def test_rotated_45(serve):
    """R25: 300x300 by 45 degrees is 424x424 (424.26)."""
    assert ask(serve(CONF), "0,0,300,300/max/45/default.png").size == (424, 424)


BAD_END3 = """DEFAULT.jpg Default.jpg default.JPG native.jpg grey.jpg default. default.xyz default.jpg.png default..jpg default.jpg%20 greyscale.jpg
binary.jpg default.jpeg default.bmp color%20.jpg colour.jpg default.j default.jp2x default.tiff""".split()


@pytest.mark.parametrize("end", BAD_END3)
def test_bad_quality_or_format(serve, end):
    r = ask(serve(CONF), "full/100,/0/" + end)
    if end.endswith("."):
        assert r.status in (400, 404)
        return
    refused(r, 400, SYNTAX)
    assert b"quality" in r.body or b"format" in r.body


@pytest.mark.parametrize("end", ["default", ".jpg", "default.jpg/"])
def test_no_quality_or_format(serve, end):
    """Not exactly an image request: 400 or, where it might have been a name, 404 (R4)."""
    r = ask(serve(CONF), "full/100,/0/" + end)
    assert r.status in (400, 404), r


@pytest.mark.parametrize("quality,mode", [("default", "RGB"), ("color", "RGB"), ("gray", "L"), ("bitonal", "1")])
@pytest.mark.parametrize("version", "32")
def test_qualities(serve, quality, mode, version):
    r = ask(serve(CONF), "full/100,/0/%s.png" % quality, version)
    assert r.status == 200 and r.image().mode == mode
    j = ask(serve(CONF), "full/100,/0/%s.jpg" % quality, version).image()
    assert j.mode == ("RGB" if mode == "RGB" else "L")


def test_aliases_of_version_2(serve):
    s = serve(CONF)
    assert ask(s, "full/100,/0/native.jpg", "2").body == ask(s, "full/100,/0/default.jpg", "2").body
    assert ask(s, "full/100,/0/grey.jpg", "2").body == ask(s, "full/100,/0/gray.jpg", "2").body


def test_version_1(serve):
    s = serve(CONF)
    for q in ("native", "grey", "color", "bitonal"):
        assert ask(s, "full/100,/0/%s.jpg" % q, "1").status == 200, q
    r = s.get("/1/squares.tif/full/100,/0/native", {"Accept": "image/png"})
    assert r.status == 200 and r["Content-Type"] == "image/png"
    r = s.get("/1/squares.tif/full/100,/0/native")
    assert r.status == 200 and r["Content-Type"] == "image/jpeg"
    refused(ask(s, "full/max/0/native.jpg", "1"), 400)
    refused(ask(s, "full/full/0/wrong.jpg", "1"), 400)


@pytest.mark.parametrize("a,b", [
    ("full/pct%3A10/0/default.jpg", "full/pct:10/0/default.jpg"),
    ("full/%5Emax/0/default.jpg", "full/^max/0/default.jpg"),
    ("full/%21200,200/0/default.jpg", "full/!200,200/0/default.jpg"),
    ("%66ull/100,/0/default.jpg", "full/100,/0/default.jpg"),
    ("full/100%2C/0/default.jpg", "full/100,/0/default.jpg"),
    ("0%2C0%2c100,100/max/0/default.jpg", "0,0,100,100/max/0/default.jpg"),
    ("full/100,/%2190/default%2Ejpg", "full/100,/!90/default.jpg"),
    ("full/100,/0/d%65fault.jpg", "full/100,/0/default.jpg"),
    ("full/100,/0/default.jpg?t=123", "full/100,/0/default.jpg"),
    ("full/100,/0/default.jpg?region=1,1,1,1", "full/100,/0/default.jpg"),
    ("full/100,/360/default.jpg", "full/100,/0/default.jpg"),
    ("full/100,100/0/color.jpg", "full/100,/0/default.jpg"),
    ("square/pct:10/0.0/default.jpg", "full/100,/0/default.jpg"),
    ("0,0,1000,1000/!100,200/0/default.jpg", "full/100,/0/default.jpg"),
    ("full//100,//0/default.jpg", "full/100,/0/default.jpg"),
    ("./full/100,/0/default.jpg", "full/100,/0/default.jpg"),
    ("x/../full/100,/0/default.jpg", "full/100,/0/default.jpg"),
])
def test_spellings_are_one(serve, a, b):
    """R5, R8, R34: one entry for all spellings, so equal bytes and equal ETag."""
    s = serve(CONF)
    x, y = ask(s, a), ask(s, b)
    assert x.status == y.status == 200, (x, y)
    assert x.body == y.body and x["ETag"] == y["ETag"] and x["Link"] == y["Link"]


@pytest.mark.parametrize("a", ["full/pct%253A10/0/default.jpg", "full/%255Emax/0/default.jpg", "%2566ull/100,/0/default.jpg"])
def test_decoded_once(serve, a):
    refused(ask(serve(CONF), a), 400, SYNTAX)


NAMES = {  # file below names/ -> how it may be written
    "sub/b.tif": ["sub/b.tif", "sub%2Fb.tif", "sub%2fb.tif", "%73ub%2Fb.tif", "sub//b.tif", "sub/./b.tif", "sub/x/../b.tif"],
    "sub/deep/er/b.tif": ["sub/deep/er/b.tif", "sub%2Fdeep%2Fer%2Fb.tif", "sub/deep%2Fer/b.tif"],
    "a b.tif": ["a%20b.tif"],
    "%41.tif": ["%2541.tif"],
    "100%.tif": ["100%25.tif"],
    "sl%2Fash.tif": ["sl%252Fash.tif"],
    "plus+sign.tif": ["plus+sign.tif", "plus%2Bsign.tif", "plus%2bsign.tif"],
    "semi;2.tif": ["semi;2.tif", "semi%3B2.tif"],
    "q?mark.tif": ["q%3Fmark.tif"],
    "hash#.tif": ["hash%23.tif"],
    "br[ack]et.tif": ["br%5Back%5Det.tif", "br[ack]et.tif"],
    "quo'te\"d.tif": ["quo'te%22d.tif", "quo%27te%22d.tif"],
    "a<b>.tif": ["a%3Cb%3E.tif", "a<b>.tif"],
    "comma,1.tif": ["comma,1.tif", "comma%2C1.tif"],
    "\u00e4\u65e5\u672c.tif": ["%C3%A4%E6%97%A5%E6%9C%AC.tif", "%c3%a4%e6%97%a5%e6%9c%ac.tif"],
    "full": ["full"],
    "info.json.tif": ["info.json.tif"],
    "tilde~.tif": ["tilde~.tif", "tilde%7E.tif"],
    "at@home.tif": ["at%40home.tif", "at@home.tif"],
    "back`.tif": ["back%60.tif"],
    "caret^.tif": ["caret%5E.tif", "caret^.tif"],
    "excl!.tif": ["excl!.tif", "excl%21.tif"],
}
BARE = "-._~:;,!$&'()*+="


def encoded(name):
    return "".join(chr(c) if chr(c) in BARE or chr(c).isalnum() and c < 128 else "%%%02X" % c for c in name.encode())


@pytest.mark.parametrize("name", NAMES)
def test_names(serve, name):
    """R7, R10: every spelling reaches the file; id and canonical use one encoded form, and that form works."""
    s = serve(CONF)
    want = "%s/n/%s" % (s.base, encoded(name))
    for spelling in NAMES[name] + [encoded(name)]:
        r = s.get("/n/%s/info.json" % spelling)
        assert r.status == 200, (spelling, r)
        assert r.json()["id"] == want, spelling
        r = s.get("/n/%s/full/10,/0/default.jpg" % spelling)
        assert r.status == 200 and "<%s/full/10,7/0/default.jpg>" % want in r["Link"], (spelling, r)
        r = s.get("/n/" + spelling)
        assert r.status == 303 and r["Location"] == want + "/info.json", (spelling, r)


@pytest.mark.parametrize("name", ["a+b.tif", "plus%20sign.tif", "%41.tif", "sl%2Fash.tif", "A.tif", "sub%252Fb.tif", "SUB/b.tif"])
def test_not_those_names(serve, name):
    refused(serve(CONF).get("/n/%s/info.json" % name), 404, "not-found")


def test_slash_behind(serve):
    """R6"""
    s = serve(CONF)
    r = s.get("/3/squares.tif/")
    assert r.status == 301 and r["Location"] == s.base + "/3/squares.tif"
    r = s.get("/n/sub%2Fb.tif/")
    assert r.status == 301 and r["Location"] == s.base + "/n/sub%2Fb.tif"


def test_doubled_slashes(serve):
    s = serve(CONF)
    assert s.get("//3//squares.tif//info.json").json() == s.get("/3/squares.tif/info.json").json()


def test_absolute_form(serve):
    s = serve(CONF)
    a = s.get(s.base + "/3/squares.tif/full/100,/0/default.jpg")
    assert a.status == 200 and a.body == s.get("/3/squares.tif/full/100,/0/default.jpg").body


def test_bare_and_ambiguous(serve):
    """R4"""
    s = serve(CONF)
    r = s.get("/n/sub/b.tif")
    assert r.status == 303 and r["Location"] == s.base + "/n/sub%2Fb.tif/info.json"
    for path in ("/n/sub/none.tif", "/n/none", "/n/a/b", "/n/", "/n", "/n/sub", "/n/sub/", "/n/a/b/c/d/e/f"):
        refused(s.get(path), 404, "not-found")
    for path in ("/n/none.tif/full/max/0/default.jpg", "/n/none.tif/info.json", "/n/sub/full/max/0/default.jpg", "/n/sub/info.json"):
        refused(s.get(path), 404, "not-found")
    for path in ("/3/squares.tif/full/max/0", "/3/squares.tif/full/max", "/3/squares.tif/full", "/3/squares.tif/x/full/max/0/default.jpg",
                 "/3/squares.tif/info.json/x", "/3/squares.tif/info.xml", "/3/squares.tif/info", "/3/info.json"):
        assert s.get(path).status in (400, 404), path


def test_literal_slash_off(serve):
    s = serve(CONF)
    refused(s.get("/off/sub/b.tif/info.json"), 404, "not-found")
    refused(s.get("/off/names/sub/b.tif/full/max/0/default.jpg"), 404, "not-found")
    refused(s.get("/off/names/sub/b.tif"), 404, "not-found")
    assert s.get("/off/names%2Fsub%2Fb.tif/full/max/0/default.jpg").status == 200
    assert s.get("/off/names%2Fsub%2Fb.tif/info.json").status == 200
    assert s.get("/off/names%2Fsub%2Fb.tif").status == 303


def test_long(serve):
    """R9, R50: lengths are bounded before anything is parsed."""
    s = serve(CONF)
    refused(s.get("/3/%s/info.json" % ("a" * 1025)), 404, "not-found")
    refused(s.get("/3/%s/info.json" % ("a/" * 40 + "b.tif")), 404, "not-found")
    refused(s.get("/3/squares.tif/%s,0,1,1/max/0/default.jpg" % ("0" * 3000)), 400)
    refused(s.get("/3/squares.tif/full/pct:%s/0/default.jpg" % ("1" * 3000)), 400)
    refused(s.get("/3/squares.tif/full/max/%s/default.jpg" % ("0." + "0" * 3000)), 400)
