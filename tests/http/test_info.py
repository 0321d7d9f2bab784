# SPDX-License-Identifier: Apache-2.0
"""info.json of the three versions, negotiation, CORS, base of id (spec/iiif.md R1, R10, R36 to R46)."""
import pytest
import tifffile

from common import CTX1, CTX2, CTX3, LD, links, location, refused

CONF = (location("/i") + location("/3", "{data}", "IIIFVersions 3") + location("/2", "{data}", "IIIFVersions 2")
        + location("/1", "{data}", "IIIFVersions 1") + location("/23", "{data}", "IIIFVersions 2 3")
        + location("/noup", "{data}", "IIPUpscaling Off") + location("/noup2", "{data}", "IIPUpscaling Off", "IIIFVersions 2")
        + location("/free", "{data}", "IIPMaxSize 0", "IIPMaxArea 0") + location("/wh", "{data}", "IIPMaxSize 600 400", "IIPMaxArea 0")
        + location("/small", "{data}", "IIPMaxSize 200") + location("/names", "{data}/names"))

ORDER3 = """@context id type protocol profile width height maxWidth maxHeight maxArea sizes tiles rights preferredFormats extraFormats
extraQualities extraFeatures partOf seeAlso service""".split()
LEVEL2_3 = """baseUriRedirect cors jsonldMediaType regionByPct regionByPx regionSquare rotationBy90s sizeByConfinedWh sizeByH sizeByPct sizeByW
sizeByWh""".split()
PICTURES = ["a.tif", "b.tif", "b.jpg", "squares.tif", "squares_flat.tif", "squares.jpg", "photo.tif", "photo_sub.tif", "photo.jpg",
            "gray.tif", "alpha.tif", "bilevel.tif", "t3073.tif", "big.jpg"]


def stored_levels(path):
    with tifffile.TiffFile(path) as t:
        levels = [(lv.shape[1], lv.shape[0]) for lv in t.series[0].levels]
        page = t.series[0].levels[0].pages[0]
        return levels, (page.tilewidth, page.tilelength) if page.is_tiled else None


def whole(n, least=1):
    return isinstance(n, int) and not isinstance(n, bool) and n >= least


def check_sizes_and_tiles(d, w, h, most):
    last = 0
    for size in d["sizes"]:
        assert set(size) - {"type"} == {"width", "height"} and whole(size["width"]) and whole(size["height"])
        assert size.get("type", "Size") == "Size"
        assert size["width"] * size["height"] >= last, "smallest first"
        last = size["width"] * size["height"]
        assert size["width"] <= most and size["height"] <= most
    if w <= most and h <= most and w * h <= 25000000:
        assert d["sizes"][-1]["width"] == w and d["sizes"][-1]["height"] == h, "the full size, if within limits"
    seen = set()
    for tile in d.get("tiles", []):
        assert whole(tile["width"]) and whole(tile.get("height", 1))
        assert set(tile) - {"type", "height"} == {"width", "scaleFactors"} and tile.get("type", "Tile") == "Tile"
        f = tile["scaleFactors"]
        assert f == sorted(set(f)) and all(whole(x) and x & (x - 1) == 0 for x in f), "ascending powers of two"
        assert not seen & set(f), "no factor twice"
        seen |= set(f)
        assert tile["width"] <= 2048


@pytest.mark.parametrize("name", PICTURES)
def test_info_3(serve, data, name):
    s = serve(CONF)
    r = s.get("/3/%s/info.json" % name)
    assert r.status == 200
    d = r.json()
    keys = list(d)
    assert keys == [k for k in ORDER3 if k in d], "the order of R36, and nothing else: %s" % keys
    assert d["@context"] == CTX3
    assert d["id"] == "%s/3/%s" % (s.base, name)
    assert (d["type"], d["protocol"], d["profile"]) == ("ImageService3", "http://iiif.io/api/image", "level2")
    im = s.get("/3/%s/full/max/0/default.jpg" % name)
    w, h = d["width"], d["height"]
    assert whole(w) and whole(h)
    assert d["maxWidth"] == 5000 and "maxHeight" not in d and d["maxArea"] == 25000000
    if w <= 5000 and h <= 5000 and w * h <= 25000000:
        assert im.size == (w, h)
    check_sizes_and_tiles(d, w, h, 5000)
    assert set(d["extraQualities"]) == ({"gray", "bitonal"} if name in ("gray.tif", "bilevel.tif") else {"color", "gray", "bitonal"})
    f = d["extraFeatures"]
    assert {"rotationArbitrary", "mirroring", "sizeUpscaling", "profileLinkHeader", "canonicalLinkHeader"} <= set(f)
    assert not set(f) & set(LEVEL2_3), "what level 2 has is not repeated"
    for fmt in ["jpg", "png"] + d.get("extraFormats", []):
        assert s.get("/3/%s/0,0,9,9/max/0/default.%s" % (name, fmt)).status == 200, fmt
    assert not {"jpg", "png"} & set(d.get("extraFormats", []))
    for fmt in ("webp", "avif", "tif", "gif", "jp2", "pdf"):
        if fmt not in d.get("extraFormats", []):
            refused(s.get("/3/%s/0,0,9,9/max/0/default.%s" % (name, fmt)), 400, "syntax")


@pytest.mark.parametrize("name", ["a.tif", "squares.tif", "photo.tif", "photo_sub.tif", "t3073.tif"])
def test_levels_of_the_file(serve, data, name):
    """R38, R39: sizes are the stored levels exactly; the file's own tile size."""
    d = serve(CONF).get("/free/%s/info.json" % name).json()
    levels, tile = stored_levels("%s/%s" % (data, name))
    got = [(x["width"], x["height"]) for x in d["sizes"]]
    assert set(levels) <= set(got) and got == sorted(got)
    assert len(d["tiles"]) == 1
    assert (d["tiles"][0]["width"], d["tiles"][0].get("height", d["tiles"][0]["width"])) == tile
    assert d["tiles"][0]["scaleFactors"] == [1 << i for i in range(len(levels))]


def test_small_and_untiled(serve):
    s = serve(CONF)
    d = s.get("/free/photo.jpg/info.json").json()
    assert d["tiles"][0]["width"] == 512 and d["tiles"][0].get("height", 512) == 512
    d = s.get("/3/b.tif/info.json").json()  # 300 x 200, smaller than one tile
    assert d["tiles"][0]["scaleFactors"] == [1] and d["tiles"][0]["width"] <= 2048
    d = s.get("/small/squares.tif/info.json").json()
    assert "tiles" not in d, "limits smaller than a tile (R39)"
    assert d["maxWidth"] == 200


@pytest.mark.parametrize("version", "32")
@pytest.mark.parametrize("name", ["squares.tif", "photo.tif", "photo.jpg", "t3073.tif"])
def test_sizes_answer_exactly(serve, name, version):
    """R38"""
    s = serve(CONF)
    for z in s.get("/%s/%s/info.json" % (version, name)).json()["sizes"]:
        w, h = z["width"], z["height"]
        asks = ["%d,%d" % (w, h)] + (["%d," % w] if version == "2" else [])
        for a in asks:
            r = s.get("/%s/%s/full/%s/0/default.jpg" % (version, name, a))
            assert r.status == 200 and r.size == (w, h), a


def ceil(a, b):
    return -(-a // b)


@pytest.mark.parametrize("name", ["squares.tif", "photo.tif", "photo.jpg", "t3073.tif", "a.tif"])
@pytest.mark.parametrize("version", "32")
def test_tile_grid(serve, name, version):
    """R35: corner tiles of each scale factor, with the edge counted by ceil, round and floor."""
    s = serve(CONF)
    d = s.get("/%s/%s/info.json" % (version, name)).json()
    w, h = d["width"], d["height"]
    t = d["tiles"][0]
    tw, th = t["width"], t.get("height", t["width"])
    for f in t["scaleFactors"]:
        nx, ny = ceil(w, tw * f), ceil(h, th * f)
        for tx, ty in {(0, 0), (nx - 1, 0), (0, ny - 1), (nx - 1, ny - 1)}:
            x, y = tx * tw * f, ty * th * f
            rw, rh = min(tw * f, w - x), min(th * f, h - y)
            for fn in (lambda a: ceil(a, f), lambda a: (2 * a + f) // (2 * f), lambda a: a // f):
                ow, oh = max(1, fn(rw)), max(1, fn(rh))
                r = s.get("/%s/%s/%d,%d,%d,%d/%d,%d/0/default.jpg" % (version, name, x, y, rw, rh, ow, oh))
                assert r.status == 200 and r.size == (ow, oh), (f, tx, ty, r)
            if version == "2":
                ow = ceil(rw, f)
                r = s.get("/2/%s/%d,%d,%d,%d/%d,/0/default.jpg" % (name, x, y, rw, rh, ow))
                assert r.status == 200 and r.size == (ow, max(1, (2 * ow * rh + rw) // (2 * rw)))


def test_limits_in_info(serve):
    """R23"""
    s = serve(CONF)
    d = s.get("/free/b.tif/info.json").json()
    assert not {"maxWidth", "maxHeight", "maxArea"} & set(d)
    assert "sizeUpscaling" not in d["extraFeatures"], "no limit, so no upscaling"
    refused(s.get("/free/b.tif/full/^400,/0/default.jpg"), 501, "feature")
    d = s.get("/wh/squares.tif/info.json").json()
    assert (d["maxWidth"], d["maxHeight"]) == (600, 400) and "maxArea" not in d
    assert s.get("/wh/squares.tif/full/max/0/default.jpg").size == (400, 400)
    d = s.get("/noup/b.tif/info.json").json()
    assert "sizeUpscaling" not in d["extraFeatures"]
    sup = s.get("/noup2/b.tif/info.json").json()["profile"][1]["supports"]
    assert "sizeAboveFull" not in sup


@pytest.mark.parametrize("name", ["b.tif", "squares.tif", "gray.tif"])
def test_info_2(serve, name):
    s = serve(CONF)
    r = s.get("/2/%s/info.json" % name)
    d = r.json()
    assert d["@context"] == CTX2 and d["@id"] == "%s/2/%s" % (s.base, name) and d["protocol"] == "http://iiif.io/api/image"
    assert d.get("@type", "iiif:Image") == "iiif:Image" and "id" not in d and "type" not in d
    assert list(d)[0] == "@context"
    assert d["profile"][0] == "http://iiif.io/api/image/2/level2.json" and len(d["profile"]) == 2
    p = d["profile"][1]
    assert set(p) <= {"formats", "qualities", "supports", "maxWidth", "maxHeight", "maxArea", "@context", "@type"}
    assert p["maxWidth"] == 5000 and p["maxArea"] == 25000000
    assert {"jpg", "png"} <= set(p["formats"])
    need = {"sizeAboveFull", "sizeByDistortedWh", "sizeByWh", "regionSquare", "rotationArbitrary", "mirroring", "canonicalLinkHeader",
            "profileLinkHeader"}
    assert need <= set(p["supports"]) and not {"sizeByWhListed", "sizeByForcedWh"} & set(p["supports"])
    for q in p["qualities"]:
        assert s.get("/2/%s/0,0,9,9/full/0/%s.jpg" % (name, q)).status == 200
    assert {"default", "gray", "bitonal"} <= set(p["qualities"])
    check_sizes_and_tiles(d, d["width"], d["height"], 5000)


def test_info_1(serve):
    """R42"""
    s = serve(CONF)
    d = s.get("/1/squares.tif/info.json").json()
    assert d["@context"] == CTX1 and d["@id"] == s.base + "/1/squares.tif"
    assert (d["width"], d["height"]) == (1000, 1000)
    assert d["profile"] == "http://library.stanford.edu/iiif/image-api/1.1/compliance.html#level2"
    assert d["tile_width"] == d["tile_height"] == 256 and d["scale_factors"] == [1, 2, 4]
    assert {"jpg", "png"} <= set(d["formats"]) and "native" in d["qualities"]
    assert set(d) <= {"@context", "@id", "width", "height", "scale_factors", "tile_width", "tile_height", "formats", "qualities", "profile"}


def test_version_1_only_when_named(serve):
    r = serve(CONF).get("/i/b.tif/info.json", {"Accept": '%s;profile="%s"' % (LD, CTX1)})
    assert r.status == 200 and r.json()["@context"] == CTX3


@pytest.mark.parametrize("path,accept,context", [
    ("/i", None, CTX3),
    ("/23", None, CTX2),
    ("/i", '%s;profile="%s"' % (LD, CTX2), CTX2),
    ("/i", '%s;profile="%s"' % (LD, CTX3), CTX3),
    ("/23", '%s;profile="%s"' % (LD, CTX3), CTX3),
    ("/3", '%s;profile="%s"' % (LD, CTX2), CTX3),
    ("/2", '%s;profile="%s"' % (LD, CTX3), CTX2),
    ("/i", '%s;profile="http://example.org/other"' % LD, CTX3),
])
def test_version_of_a_request(serve, path, accept, context):
    """R1"""
    r = serve(CONF).get(path + "/b.tif/info.json", {"Accept": accept})
    assert r.status == 200 and r.json()["@context"] == context


FULL3 = '%s;profile="%s"' % (LD, CTX3)


@pytest.mark.parametrize("accept,three,two", [
    (None, FULL3, "application/json"),
    ("*/*", FULL3, "application/json"),
    (LD, FULL3, LD),
    (LD + '; profile="x"; q=0.9', FULL3, LD),
    ("application/json", "application/json", "application/json"),
    ("application/json, application/ld+json", FULL3, "application/json"),
    ("application/json;q=0.9, application/ld+json;q=0.5", "application/json", "application/json"),
    ("application/json;q=0.5, application/ld+json;q=0.9", FULL3, LD),
    ("application/ld+json;q=0, application/json", "application/json", "application/json"),
    ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8", "application/json", "application/json"),
    ("image/png", FULL3, "application/json"),
    ("garbage;;;,,=", FULL3, "application/json"),
    ("", FULL3, "application/json"),
])
def test_negotiation(serve, accept, three, two):
    s = serve(CONF)
    for path, want, ctx in (("/3", three, CTX3), ("/2", two, CTX2)):
        r = s.get(path + "/b.tif/info.json", {"Accept": accept})
        assert r.status == 200 and r.json()["@context"] == ctx
        assert r["Content-Type"].replace(" ", "") == want, (path, r["Content-Type"])
        assert "Accept" in r["Vary"]
        l = links(r)
        if path == "/2" and want == "application/json":
            assert l["http://www.w3.org/ns/json-ld#context"] == CTX2
            assert 'type="application/ld+json"' in r["Link"]
        else:
            assert "http://www.w3.org/ns/json-ld#context" not in l


def test_etags_of_texts(serve):
    """Different bytes or types, different tags; each answers 304 (R44, R48)."""
    s = serve(CONF)
    tags = {}
    for path in ("/3/b.tif", "/2/b.tif", "/3/squares.tif"):
        for accept in (LD, "application/json"):
            r = s.get(path + "/info.json", {"Accept": accept})
            tags[(path, accept)] = r["ETag"]
            n = s.get(path + "/info.json", {"Accept": accept, "If-None-Match": r["ETag"]})
            assert n.status == 304 and not n.body and n["ETag"] == r["ETag"] and "Accept" in n["Vary"]
            assert n["Access-Control-Allow-Origin"] == "*"
    assert len(set(tags.values())) == len(tags)
    a = s.get("/3/b.tif/info.json", {"Host": "one.example"})
    b = s.get("/3/b.tif/info.json", {"Host": "two.example"})
    assert a["ETag"] != b["ETag"] and a.json()["id"] == "http://one.example/3/b.tif"


# ---- base of id (R10, security.md 5)

BASES = (location("/i") + location("/fixed", "{data}", "IIPBaseURL https://images.example.org/iiif")
         + location("/deep/er/place", "{data}") + location("/proxy", "{data}", "IIPTrustedProxy 127.0.0.0/8")
         + location("/other", "{data}", "IIPTrustedProxy 10.0.0.0/8"))


def test_fixed_base(serve):
    s = serve(BASES)
    assert s.get("/fixed/b.tif/info.json").json()["id"] == "https://images.example.org/iiif/b.tif"
    assert s.get("/fixed/b.tif")["Location"] == "https://images.example.org/iiif/b.tif/info.json"
    assert links(s.get("/fixed/b.tif/full/max/0/default.jpg"))["canonical"] == "https://images.example.org/iiif/b.tif/full/max/0/default.jpg"
    assert s.get("/deep/er/place/b.tif/info.json").json()["id"] == s.base + "/deep/er/place/b.tif"


@pytest.mark.parametrize("host,want", [
    ("www.example.com", "http://www.example.com"),
    ("www.example.com:8080", "http://www.example.com:8080"),
    ("WWW.Example.com", None),
    ("[::1]:99", "http://[::1]:99"),
])
def test_host(serve, host, want):
    r = serve(BASES).get("/i/b.tif/info.json", {"Host": host})
    got = r.json()["id"]
    assert got == (want or "http://" + host) + "/i/b.tif" or want is None and got.lower() == ("http://%s/i/b.tif" % host).lower()


@pytest.mark.parametrize("host", ['a"b', "a b", "<script>", "evil.example/x", "evil.example\\@x", "a,b", "a:99999999", "ev%69l", "a;b", "a'b"])
def test_bad_host(serve, host):
    """Never into an answer unescaped; an invalid one is replaced by ServerName (or refused by httpd)."""
    s = serve(BASES)
    for path in ("/i/b.tif/info.json", "/i/b.tif", "/i/b.tif/full/10,/0/default.jpg"):
        r = s.get(path, {"Host": host})
        if r.status == 400:
            continue
        assert r.status in (200, 303)
        text = (r["Link"] or "") + (r["Location"] or "") + (r.body.decode() if path.endswith("json") else "")
        assert host not in text and "localhost" in text, text


FORWARDED = [
    ({"X-Forwarded-Proto": "https"}, "https://{host}/proxy"),
    ({"X-Forwarded-Host": "img.example.org"}, "http://img.example.org/proxy"),
    ({"X-Forwarded-Proto": "https", "X-Forwarded-Host": "img.example.org"}, "https://img.example.org/proxy"),
    ({"X-Forwarded-Proto": "https", "X-Forwarded-Host": "img.example.org", "X-Forwarded-Port": "8443"}, "https://img.example.org:8443/proxy"),
    ({"X-Forwarded-Host": "img.example.org", "X-Forwarded-Prefix": "/pub"}, "http://img.example.org/pub/proxy"),
    ({"Forwarded": "for=1.2.3.4;proto=https;host=img.example.org"}, "https://img.example.org/proxy"),
    ({"Forwarded": 'proto=https;host="img.example.org:8443"'}, "https://img.example.org:8443/proxy"),
]


@pytest.mark.parametrize("headers,want", FORWARDED)
def test_trusted_proxy(serve, headers, want):
    s = serve(BASES)
    d = s.get("/proxy/b.tif/info.json", headers).json()
    assert d["id"] == want.replace("{host}", "127.0.0.1:%d" % s.port) + "/b.tif"


@pytest.mark.parametrize("headers", [h for h, _ in FORWARDED] + [{"X-IIIF-ID": "https://x.example/y"}])
@pytest.mark.parametrize("path", ["/i", "/other"])
def test_untrusted_proxy(serve, headers, path):
    s = serve(BASES)
    assert s.get(path + "/b.tif/info.json", headers).json()["id"] == "%s%s/b.tif" % (s.base, path)


@pytest.mark.parametrize("headers", [{"X-Forwarded-Host": 'a"b<c>'}, {"X-Forwarded-Proto": "javascript"}, {"X-Forwarded-Port": "1e9"},
                                     {"X-Forwarded-Prefix": '/"><script>'}, {"X-Forwarded-Host": "a b"}, {"Forwarded": 'host="a<b"'},
                                     {"X-Forwarded-Host": "x" * 2000}, {"X-Forwarded-Prefix": "//evil.example"}])
def test_trusted_proxy_says_nonsense(serve, headers):
    s = serve(BASES)
    r = s.get("/proxy/b.tif/info.json", headers)
    value = list(headers.values())[0]
    assert r.status in (200, 400)
    if r.status == 200:
        ident = r.json()["id"]
        assert ident.startswith(("http://", "https://")) and value not in ident and "<" not in ident and len(ident) < 300


def test_id_header(serve):
    s = serve(BASES)
    d = s.get("/proxy/b.tif/info.json", {"X-IIIF-ID": "https://x.example/y%2Fz"}).json()
    assert d["id"] == "https://x.example/y%2Fz"


# ---- CORS (R45, R46)

ORIGINS = (location("/any") + location("/some", "{data}", "IIPCORS https://a.example https://b.example:8443")
           + location("/none", "{data}", "IIPCORS none"))
EVERY = ["b.tif/info.json", "b.tif/full/10,/0/default.jpg", "b.tif", "b.tif/", "none.tif/info.json", "b.tif/full/0,/0/default.jpg",
         "bad/note.tif/info.json", "b.tif/full/10,/0/default.xyz"]


@pytest.mark.parametrize("tail", EVERY)
def test_cors_everywhere(serve, tail):
    s = serve(ORIGINS)
    for method in ("GET", "HEAD", "OPTIONS"):
        r = s.request(method, "/any/" + tail, {"Origin": "https://a.example"})
        assert r["Access-Control-Allow-Origin"] == "*", (method, r)
        assert "Access-Control-Allow-Credentials" not in r.headers
        if method == "OPTIONS":
            assert r.status == 204 and not r.body
            assert [m.strip() for m in r["Access-Control-Allow-Methods"].split(",")] == ["GET", "HEAD", "OPTIONS"]
            allowed = {h.strip().lower() for h in r["Access-Control-Allow-Headers"].split(",")}
            assert allowed == {"authorization", "accept", "content-type", "range", "if-none-match", "if-modified-since", "x-requested-with"}
            assert r["Access-Control-Max-Age"] == "86400"
        else:
            shown = {h.strip().lower() for h in r["Access-Control-Expose-Headers"].split(",")}
            assert shown == {"link", "etag", "last-modified", "content-length", "location", "iip-error"}


@pytest.mark.parametrize("tail", EVERY)
def test_cors_listed(serve, tail):
    s = serve(ORIGINS)
    for origin in ("https://a.example", "https://b.example:8443"):
        r = s.get("/some/" + tail, {"Origin": origin})
        assert r["Access-Control-Allow-Origin"] == origin and "Origin" in r["Vary"]
    for origin in ("https://c.example", "https://a.example.evil", "http://a.example", "null", None):
        r = s.get("/some/" + tail, {"Origin": origin})
        assert r["Access-Control-Allow-Origin"] is None and "Origin" in r["Vary"], (origin, r.headers.items())
    assert s.get("/none/" + tail, {"Origin": "https://a.example"})["Access-Control-Allow-Origin"] is None


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "PROPFIND", "BREW"])
def test_other_methods(serve, method):
    s = serve(ORIGINS)
    for tail in ("b.tif/info.json", "b.tif/full/10,/0/default.jpg", "b.tif", "none.tif"):
        r = s.request(method, "/any/" + tail, body=b"x=1")
        if method == "BREW" and r.status in (400, 501):
            continue  # httpd's own answer to a method nobody registered
        refused(r, 405, "method")
        assert {m.strip() for m in r["Allow"].split(",")} >= {"GET", "HEAD", "OPTIONS"} and "POST" not in r["Allow"]


def test_errors_as_json(serve):
    """R47"""
    s = serve(CONF)
    for tail, status in (("none.tif/info.json", 404), ("b.tif/full/0,/0/default.jpg", 400)):
        r = s.get("/3/" + tail, {"Accept": "application/json"})
        assert r.status == status and r["Content-Type"].startswith("application/json") and isinstance(r.json()["error"], str)
        r = s.get("/3/" + tail)
        assert r["Content-Type"].startswith("text/plain")
