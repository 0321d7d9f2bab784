# SPDX-License-Identifier: Apache-2.0
"""IIIFExtensions and IIIFExtraInfo over HTTP (spec/iiif.md R29, R40; iip.md 6): the qualities against plain models."""
import numpy as np
import pytest

from common import PLAIN, location, refused

CONF = PLAIN + location("/x", "{data}", "IIIFExtensions On", 'IIIFExtraInfo \'{"rights":"http://example.org/free","preferredFormats":["png","bmp"]}\'')
URL = "/squares.tif/full/500,/0/%s.png"


def histogram(s):
    """Of the smallest level: 500 x 500 of 1000 x 1000."""
    info = s.get("/x/squares.tif/info.json").json()
    least = info["sizes"][0]
    px = s.get("/x/squares.tif/full/%d,%d/0/default.png" % (least["width"], least["height"])).pixels("RGB").astype(float)
    return np.bincount(np.floor(px.mean(-1) + 0.5).astype(int).ravel(), minlength=256)


MODELS = {
    "negative": lambda v, h: 255 - v,
    "log": lambda v, h: np.floor(255 * np.log1p(v) / np.log(256) + 1e-4),
    "stretch": lambda v, h: np.floor(np.clip(255 * (v - h.nonzero()[0][0]) / (h.nonzero()[0][-1] - h.nonzero()[0][0]), 0, 255) + 1e-4),
    "equalization": lambda v, h: np.floor(255 * np.cumsum(h)[v.astype(int)] / h.sum() + 0.5),
    "hot": lambda v, h: np.floor(np.clip(3 * v[..., :1] - 255 * np.arange(3), 0, 255) + 1e-4),
    "blue": lambda v, h: v[..., :1] * np.array([0, 0, 1]),
}


@pytest.mark.parametrize("name", sorted(MODELS))
def test_quality(serve, name):
    """On the pixels of a stored level, to one step."""
    s = serve(CONF)
    r, plain = s.get("/x" + URL % name), s.get("/x" + URL % "default")
    assert r.status == 200 and r.size == plain.size
    want = MODELS[name](plain.pixels("RGB").astype(float), histogram(s))
    assert np.abs(r.pixels("RGB") - want).max() <= 1
    assert '/%s.png>;rel="canonical"' % name in r["Link"]
    assert r["ETag"] != plain["ETag"]


def test_off(serve):
    s = serve(CONF)
    refused(s.get("/i" + URL % "negative"), 400)
    refused(s.get("/x" + URL % "polka"), 400)
    info = s.get("/i/squares.tif/info.json").json()
    assert info["extraQualities"] == ["color", "gray", "bitonal"] and "rights" not in info


def test_announced(serve):
    s = serve(CONF)
    r = s.get("/x/squares.tif/info.json")
    info = r.json()
    assert info["@context"][-1] == "http://iiif.io/api/image/3/context.json" and len(info["@context"]) == 2
    assert info["rights"] == "http://example.org/free" and info["preferredFormats"] == ["png"]
    for quality in info["extraQualities"]:
        assert s.get("/x" + URL % quality).status == 200, quality
    assert r["ETag"] != s.get("/i/squares.tif/info.json")["ETag"]
    assert s.get("/x/squares.tif/info.json", {"If-None-Match": r["ETag"]}).status == 304


def test_tiles_are_alike(serve):
    """One histogram for the picture: tiles fit together."""
    s = serve(CONF)
    whole = s.get("/x/squares.tif/full/max/0/stretch.png").pixels("RGB")
    for x, y in ((0, 0), (256, 512), (768, 768)):
        w, h = min(256, whole.shape[1] - x), min(256, whole.shape[0] - y)
        tile = s.get("/x/squares.tif/%d,%d,%d,%d/%d,/0/stretch.png" % (x, y, w, h, w)).pixels("RGB")
        assert (tile == whole[y:y + h, x:x + w]).all()
