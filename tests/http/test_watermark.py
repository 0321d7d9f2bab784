# SPDX-License-Identifier: Apache-2.0
"""IIPWatermark (spec/iip.md 6.5): added to every answer, at the same place for the same URL; the file's identity counts."""
import os
import time

import numpy as np
import pytest
from PIL import Image

from common import location, refused

MARK = np.zeros((20, 30, 4), np.uint8)
MARK[..., 0], MARK[..., 1], MARK[..., 3] = 120, 40, 255
MARK[:, :10, 3] = 128


@pytest.fixture(scope="module")
def marks(work):
    folder = os.path.join(work, "marks")
    os.makedirs(folder + "/closed", exist_ok=True)
    Image.fromarray(MARK).save(folder + "/house.png")
    Image.fromarray(MARK).save(folder + "/closed/house.png")
    Image.fromarray(np.zeros((2000, 4), np.uint8)).save(folder + "/tall.png")
    noise = np.random.default_rng(1).integers(0, 100, (300, 400, 3))  # nothing that is added is cut off
    Image.fromarray(noise.astype(np.uint8)).save(folder + "/dark.png")
    with open(folder + "/text.png", "w") as f:
        f.write("no picture")
    return folder


def conf(marks, word, *more, path="/i"):
    return ('Alias /marks "%s"\n<Directory "%s">\nRequire all granted\n</Directory>\n<Directory "%s/closed">\nRequire all denied\n'
            '</Directory>\n' % (marks, marks, marks) + location(path, "{data}", "IIPWatermark " + word, *more) + location("/plain")
            + location("/dark", marks, "IIPWatermark " + word) + location("/darkplain", marks))


def added(a, b):
    """What an answer has more than another, and the corner of it."""
    d = a.astype(int) - b.astype(int)
    ys, xs = np.nonzero(d.any(-1) if d.ndim == 3 else d)
    return d, (ys.min(), xs.min(), ys.max() + 1, xs.max() + 1) if len(ys) else None


def marked(px, was, opacity=1):
    """Where the mark is: it is there once, as it is, and nothing else is changed."""
    d, at = added(px, was)
    y, x = at[:2]
    assert at[2:] == (y + 20, x + 30)
    want = was[y:y + 20, x:x + 30] + np.round(MARK[..., :3] * (MARK[..., 3:] / 255) * opacity)
    assert np.abs(px[y:y + 20, x:x + 30] - want).max() <= 1
    return y, x


def test_place(serve, marks):
    s = serve(conf(marks, "/marks/house.png"))
    url = "/dark.png/0,0,256,256/256,/0/default.png"
    r, plain = s.get("/dark" + url), s.get("/darkplain" + url)
    assert r.status == 200 and r["ETag"] != plain["ETag"]
    marked(r.pixels("RGB").astype(int), plain.pixels("RGB").astype(int))
    again = serve(conf(marks, "/marks/house.png"), fresh=True).get("/dark" + url)
    assert again.body == r.body and again["ETag"] == r["ETag"], "another process marks the same place"
    assert s.get("/dark" + url, {"If-None-Match": r["ETag"]}).status == 304


def test_stored_tile(serve, marks):
    """A stored tile is not passed through."""
    s = serve(conf(marks, "/marks/house.png"))
    url = "/a.tif/0,0,256,256/256,/0/default.jpg"
    px, was = s.get("/i" + url).pixels("RGB").astype(int), s.get("/plain" + url).pixels("RGB").astype(int)
    assert (px - was).max() > 20


def test_places_differ(serve, marks):
    s = serve(conf(marks, "/marks/house.png"))
    places = set()
    for k in range(6):
        url = "/dark.png/%d,0,256,256/256,/0/default.png" % k
        places.add(marked(s.get("/dark" + url).pixels("RGB").astype(int), s.get("/darkplain" + url).pixels("RGB").astype(int)))
    assert len(places) > 1


@pytest.mark.parametrize("rest", ["full/900,/0/default.png", "full/900,/90/default.png", "full/900,/!30/gray.jpg", "100,100,50,60/max/0/bitonal.png",
                                  "full/4,/0/default.webp", "full/max/0/default.tif"])
def test_every_answer(serve, marks, rest):
    """Views of any kind are marked, in each block of two tiles by two."""
    s = serve(conf(marks, "/marks/house.png"))
    r, plain = s.get("/i/a.tif/" + rest), s.get("/plain/a.tif/" + rest)
    assert r.status == 200 and r.size == plain.size
    d, at = added(r.pixels("RGB"), plain.pixels("RGB"))
    assert at and d.max() > 20
    w, h = r.size
    marked = [(d[y:y + 512, x:x + 512] > 20).any() for y in range(0, h - 40, 512) for x in range(0, w - 40, 512)]
    assert any(marked) if "!30" in rest else all(marked)  # on white nothing can be added


def test_every_protocol(serve, marks):
    """Tiles and views of the other protocols, of any size and format; another process gives the same bytes."""
    def sites(folder, word):
        return "".join('<Location /%s/%s>\nSetHandler %s-handler\nIIPRoot "%s"\nIIPWatermark %s\n</Location>\n' % (
            folder, name, name, marks, word) for name in ("iip", "deepzoom", "zoomify"))

    text = "IIPCacheSize 0 0\n" + conf(marks, "/marks/house.png") + sites("marked", "/marks/house.png") + sites("bare", "none")
    s, other = serve(text), serve(text, fresh=True)
    tiles = ["iip?FIF=dark.png&" + q for q in ("JTL=1,0", "PTL=1,0", "WTL=1,0", "TTL=1,1", "PTL=0,0", "INV&PTL=1,0", "CNT=2&ROT=90&PTL=1,0", "TIL=1,0-1", "CVT=jpeg",
                                               "WID=300&CVT=png", "RGN=.1,.1,.5,.5&CVT=png", "WID=60&CVT=png", "CMP=hot&CVT=webp", "COL=grey&CVT=tif")]
    tiles += ["deepzoom/dark.png_files/9/0_0.png", "deepzoom/dark.png_files/7/0_0.jpg", "zoomify/dark.png/TileGroup0/1-0-0.jpg"]
    for path in tiles:
        r, bare = s.get("/marked/" + path), s.get("/bare/" + path)
        assert r.status == bare.status == 200 and r.body != bare.body and r["ETag"] != bare["ETag"], path
        again = [x.get("/marked/" + path) for x in (s, other)]
        assert all(x.body == r.body and x["ETag"] == r["ETag"] for x in again), path
        if path.endswith(("PTL=1,0", "WID=300&CVT=png", "0_0.png")) and "INV" not in path and "CNT" not in path:
            d, at = added(r.pixels("RGB"), bare.pixels("RGB"))
            assert d.min() >= 0 and d.max() == 120 and (at[2] - at[0], at[3] - at[1]) == (20, 30), path


def test_opacity_and_chance(serve, marks):
    url = "/squares_flat.tif/0,0,256,256/256,/0/default.png"
    none = serve(conf(marks, "/marks/house.png 1 0"))
    assert none.get("/i" + url).body == none.get("/plain" + url).body
    weak = serve(conf(marks, "/marks/house.png 0.25"))
    url = "/dark.png/0,0,256,256/256,/0/default.png"
    marked(weak.get("/dark" + url).pixels("RGB").astype(int), weak.get("/darkplain" + url).pixels("RGB").astype(int), 0.25)


def test_off_below(serve, marks):
    s = serve(conf(marks, "/marks/house.png") + location("/i/free", "{data}", "IIPWatermark none"))
    url = "/squares_flat.tif/0,0,256,256/256,/0/default.png"
    assert s.get("/i/free" + url).body == s.get("/plain" + url).body


@pytest.mark.log("IIPWatermark", "AH01630")
@pytest.mark.parametrize("word", ["/marks/missing.png", "/marks/closed/house.png", "/marks/", "/marks/text.png", "/marks/tall.png"])
def test_broken(serve, marks, word):
    """No mark, no answer: who wants his pictures marked does not want them bare."""
    s = serve(conf(marks, word))
    r = s.get("/i/a.tif/full/100,/0/default.jpg")
    refused(r, 500)
    assert b"marks" not in r.body
    assert s.get("/i/a.tif/info.json").status == 200


def test_replaced(serve, marks):
    s = serve(conf(marks, "/marks/new.png"))
    url = "/i/squares_flat.tif/0,0,256,256/256,/0/default.png"
    Image.fromarray(MARK).save(marks + "/new.png")
    first = s.get(url)
    time.sleep(0.02)
    Image.fromarray(MARK[::-1, ::-1] // 2).save(marks + "/new.png")
    second = s.get(url, {"If-None-Match": first["ETag"]})
    assert second.status == 200 and second.body != first.body
