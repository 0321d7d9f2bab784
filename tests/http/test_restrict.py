# SPDX-License-Identifier: Apache-2.0
"""IIIFRestrictTo (spec/iiif.md R50): all that info.json lists is answered, what a crawler makes up is 403."""
import pytest

from common import CTX2, location, refused

NAMES = ["b.tif", "photo.jpg", "t3073.tif", "bilevel.tif"]


def place(word):
    return location("/i", "{data}", "IIIFRestrictTo %s" % word, "IIPMaxSize 0", "IIPMaxArea 0")


def tiles(d):
    """Every kind of tile: of each scale the corners and one within, as clients write them."""
    w, h = d["width"], d["height"]
    for t in d.get("tiles", []):
        tw, th = t["width"], t.get("height", t["width"])
        for s in t["scaleFactors"]:
            nx, ny = -(-w // (tw * s)), -(-h // (th * s))
            for x, y in {(0, 0), (nx - 1, 0), (0, ny - 1), (nx - 1, ny - 1), (nx // 2, ny // 2)}:
                rw, rh = min(tw * s, w - x * tw * s), min(th * s, h - y * th * s)
                yield "%d,%d,%d,%d" % (x * tw * s, y * th * s, rw, rh), -(-rw // s), -(-rh // s)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("word", ["tiles", "sizes", "any"])
def test_what_is_listed(serve, name, word):
    s = serve(place(word))
    d = s.get("/i/%s/info.json" % name).json()
    n = 0
    for region, w, h in tiles(d):
        for size in ("%d,%d" % (w, h), "%d," % w):
            r = s.get("/i/%s/%s/%s/0/default.jpg" % (name, region, size))
            assert r.status == 200, (region, size, r)
            n += 1
    for z in d["sizes"]:
        r = s.get("/i/%s/full/%d,%d/0/default.jpg" % (name, z["width"], z["height"]))
        assert r.status == 200 and r.size == (z["width"], z["height"])
    assert n > 1 and s.get("/i/%s/full/max/0/default.png" % name).status == 200


MADE_UP = ["0,0,100,100/100,/0/default.jpg", "1,0,256,256/256,/0/default.jpg", "0,0,256,256/100,/0/default.jpg", "0,0,257,256/max/0/default.jpg",
           "pct:10,10,20,20/max/0/default.jpg", "full/max/90/default.jpg", "full/max/!0/default.jpg", "full/max/0/gray.jpg", "full/max/0/bitonal.png",
           "full/max/22.5/default.png", "square/100,100/0/default.jpg"]


@pytest.mark.parametrize("word", ["tiles", "sizes"])
def test_what_is_made_up(serve, word):
    s = serve(place(word))
    for rest in MADE_UP:
        refused(s.get("/i/b.tif/" + rest), 403, "forbidden")
    for rest in ("full/77,/0/default.jpg", "full/pct:31/0/default.jpg", "full/!90,90/0/default.jpg", "full/50,90/0/default.jpg"):
        r = s.get("/i/b.tif/" + rest)
        assert r.status == 200 if word == "sizes" else refused(r, 403, "forbidden")
    assert refused(s.get("/i/b.tif/full/0,/0/default.jpg"), 400)  # nonsense stays nonsense
    assert s.get("/i/b.tif/info.json").status == 200


def test_head_and_304_too(serve):
    s, free = serve(place("tiles")), serve(place("any"))
    tag = free.get("/i/b.tif/" + MADE_UP[0])["ETag"]
    assert s.head_of("/i/b.tif/" + MADE_UP[0]).status == 403
    refused(s.get("/i/b.tif/" + MADE_UP[0], {"If-None-Match": tag}), 403)


def test_for_some_clients(serve):
    """Under <If> it holds for those alone, and no cache mixes them up."""
    s = serve(location() + "<Location /i>\n<If \"%{HTTP_USER_AGENT} =~ /bot/\">\nIIIFRestrictTo tiles\n</If>\n</Location>\n")
    for _ in range(2):
        assert s.get("/i/b.tif/" + MADE_UP[0]).status == 200
        refused(s.get("/i/b.tif/" + MADE_UP[0], {"User-Agent": "a bot"}), 403)


@pytest.mark.parametrize("word", ["tiles", "sizes", "any"])
def test_compliance_level(serve, word):
    """The level that is told is the one that is kept: nothing in it, or named beside it, is refused."""
    s = serve(place(word))
    level = 2 if word == "any" else 0
    d = s.get("/i/b.tif/info.json").json()
    assert d["profile"] == "level%d" % level
    more = d.get("extraFeatures", [])
    assert ("rotationArbitrary" in more) == (word == "any") and ("sizeByW" in more) == (word == "sizes")
    assert ("extraQualities" in d) == (word == "any") and ("png" in d["extraFormats"]) == (word != "any")
    r = s.get("/i/b.tif/full/max/0/default.jpg")
    assert r.status == 200 and "image/3/level%d.json" % level in r["Link"]
    sizes = {"sizeByW": "77,", "sizeByH": ",55", "sizeByPct": "pct:30", "sizeByWh": "70,60", "sizeByConfinedWh": "!70,60", "sizeUpscaling": "^1000,"}
    for feature, size in sizes.items():
        if feature in more:
            assert s.get("/i/b.tif/full/%s/0/default.png" % size).status == 200, feature
        elif word == "tiles" and feature != "sizeUpscaling":
            refused(s.get("/i/b.tif/full/%s/0/default.png" % size), 403, "forbidden")
    for ext in ["jpg"] + d["extraFormats"]:
        assert s.get("/i/b.tif/full/max/0/default.%s" % ext).status == 200, ext
    d = s.get("/i/b.tif/info.json", {"Accept": 'application/ld+json;profile="http://iiif.io/api/image/2/context.json"'}).json()
    assert d["@context"] == CTX2 and d["profile"][0] == "http://iiif.io/api/image/2/level%d.json" % level
    assert ("gray" in d["profile"][1]["qualities"]) == (word == "any") and "default" in d["profile"][1]["qualities"]
    assert ("sizeByW" in d["profile"][1]["supports"]) == (word == "sizes")
