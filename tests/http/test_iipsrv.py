# SPDX-License-Identifier: Apache-2.0
"""conf/examples/from-iipsrv.conf, loaded as it is: URLs that pages and viewers wrote for iipsrv, and what they must get."""
import os

import numpy as np
import pytest

import httpd
import make_iip
from common import near, refused, shrink

EXAMPLE = os.path.join(httpd.TOP, "conf", "examples", "from-iipsrv.conf")
OLD = ["/fcgi-bin/iipsrv.fcgi", "/iipsrv/iipsrv.fcgi", "/cgi-bin/iipsrv.fcgi"]


@pytest.fixture(scope="session")
def old(work):
    d = os.path.join(work, "iipsrv-%d" % os.getpid())
    return d, make_iip.make(d)


@pytest.fixture
def site(serve, old):
    return serve("Define IIP_IMAGES %s\nInclude %s\n" % (old[0], EXAMPLE))


URLS = [  # what follows the script's name, status, media type, size or body
    ("?FIF={root}/v.tif&WID=500&CVT=jpeg", 200, "image/jpeg", (500, 375)),
    ("?FIF=v.tif&WID=500&CVT=JPEG", 200, "image/jpeg", (500, 375)),
    ("?FIF=/v.tif&HEI=200&CVT=jpg", 200, "image/jpeg", (267, 200)),
    ("?fif={root}/dir/v.tif&wid=64&cvt=jpeg", 200, "image/jpeg", (64, 48)),
    ("?FIF={root}/v.tif&SDS=0,90&CNT=1.0&WID=128&QLT=98&CVT=jpeg", 200, "image/jpeg", (128, 96)),
    ("?FIF={root}/v.tif&RGN=0.25,0.25,0.5,0.5&WID=400&CVT=jpeg", 200, "image/jpeg", (400, 300)),
    ("?FIF={root}/v.tif&ROT=90&WID=100&CVT=jpeg", 200, "image/jpeg", (75, 100)),
    ("?FIF={root}/v.tif&CNT=1.2&SDS=0,90&JTL=3,47", 200, "image/jpeg", (208, 220)),
    ("?FIF={root}/v.tif&JTL=0,0", 200, "image/jpeg", (250, 187)),
    ("?FIF={root}/v.tif&PTL=2,0", 200, "image/png", (256, 256)),
    ("?FIF={root}/v.tif&JTLS=0,3,0,90", 200, "image/jpeg", (256, 256)),
    ("?FIF={root}/v.tif&obj=IIP,1.0&obj=Max-size&obj=Tile-size&obj=Resolution-number", 200, "application/vnd.netfpx",
     b"Max-size:2000 1500\r\nTile-size:256 256\r\nResolution-number:4\r\n"),
    ("?FIF={root}/v.tif&OBJ=Basic-Info", 200, "application/vnd.netfpx",
     b"IIP-server:3.65\r\nMax-size:2000 1500\r\nResolution-number:4\r\nColorspace,0-3,0:0 0 3 3 0 1 2\r\n"),
    ("?FIF={root}/u16.tif&MINMAX=1,0,40000&CMP=JET&JTL=0,0", 200, "image/jpeg", (50, 37)),
    ("?FIF={root}/stack.tif&SDS=1,90&WID=50&CVT=jpeg", 200, "image/jpeg", (50, 40)),
    ("?FIF={root}/dir/thing&SDS=10,90&CVT=jpeg", 200, "image/jpeg", (64, 64)),
    ("?DeepZoom={root}/v.tif.dzi", 200, "application/xml", None),
    ("?DeepZoom={root}/v.tif_files/11/7_5.jpg", 200, "image/jpeg", (208, 220)),
    ("?Deepzoom=v.tif_files/8/0_0.jpg", 200, "image/jpeg", (250, 188)),
    ("?Zoomify={root}/v.tif/ImageProperties.xml", 200, "application/xml",
     b'<IMAGE_PROPERTIES WIDTH="2000" HEIGHT="1500" NUMTILES="65" NUMIMAGES="1" VERSION="1.8" TILESIZE="256"/>'),
    ("?zoomify={root}/v.tif/TileGroup0/3-7-5.jpg", 200, "image/jpeg", (208, 220)),
    ("?IIIF=v.tif/full/100,/0/default.jpg", 200, "image/jpeg", (100, 75)),
    ("?IIIF={root}/v.tif/full/100,/0/default.jpg", 200, "image/jpeg", (100, 75)),
    ("?IIIF=/v.tif/info.json", 200, None, None),
    ("?FIF={root}/nope.tif&JTL=0,0", 404, None, None),
    ("?FIF=/etc/passwd&CVT=jpeg", 404, None, None),
    ("?FIF={root}/../v.tif&CVT=jpeg", 404, None, None),
    ("?FIF={root}/v.tif&JTL=3,48", 404, None, None),
    ("?FIF={root}/v.tif&JTL=9,0", 400, None, None),
    ("", 200, "text/plain; charset=utf-8", None),
]


@pytest.mark.parametrize("script", OLD)
@pytest.mark.parametrize("url, status, mime, want", URLS)
def test_old_urls(site, old, script, url, status, mime, want):
    r = site.get(script + url.replace("{root}", old[0]))
    if status != 200:
        refused(r, status)
        return
    assert r.status == 200, r
    assert mime is None or r["Content-Type"] == mime
    if isinstance(want, bytes):
        assert r.body == want
    elif want:
        assert r.size == want


@pytest.mark.parametrize("path, size", [
    ("/iip/v.tif&WID=300&CVT=jpeg", (300, 225)), ("/iip/dir/v.tif&JTL=3,47", (208, 220)), ("/iip{root}/v.tif&WID=30&CVT=png", (30, 23)),
    ("/iip?FIF=v.tif&JTL=3,47", (208, 220)), ("/iiif/v.tif/full/100,/0/default.jpg", (100, 75)), ("/deepzoom/v.tif_files/11/7_5.jpg", (208, 220)),
    ("/zoomify/v.tif/TileGroup0/3-7-5.jpg", (208, 220)),
])
def test_mapped_prefixes(site, old, path, size):
    assert site.get(path.replace("{root}", old[0])).size == size


def test_pixels_of_old_urls(site, old):
    px = old[1]["v"]
    near(site.get("/iipsrv/iipsrv.fcgi?FIF=%s/v.tif&CVT=png" % old[0]).pixels(), px, 0, 0)
    near(site.get("/fcgi-bin/iipsrv.fcgi?FIF=v.tif&WID=250&CVT=png").pixels(), shrink(px, 250, 188), 2, 8)
    near(site.get("/fcgi-bin/iipsrv.fcgi?FIF=v.tif&CTW=[0,0,1;0,1,0;1,0,0]&PTL=3,9").pixels(), px[256:512, 256:512, ::-1], 0.1, 1)
    near(site.get("/fcgi-bin/iipsrv.fcgi?FIF=v.tif&INV=1&PTL=3,9").pixels(), 255 - px[256:512, 256:512], 0.6, 1)


@pytest.mark.parametrize("query, want", [
    ("FIF=flatrgb.tif&CNT=2&PTL=1,0", (54, 38, 4)), ("FIF=flatrgb.tif&GAM=log&PTL=1,0", (153, 137, 50)),
    ("FIF=flatrgb.tif&CTW=[0,0,1;0,1,0;1,0,0]&PTL=1,0", (2, 19, 27)), ("FIF=flatrgb.tif&COL=grey&PTL=1,0", (19,)),
    ("FIF=flatrgb.tif&CMP=jet&PTL=1,0", (0, 0, 235)), ("FIF=ramp16.tif&PTL=0,0", (25,)), ("FIF=ramp16.tif&GAM=.5&PTL=0,0", (80,)),
    ("FIF=ramp16.tif&INV&PTL=0,0", (229,)), ("FIF=ramp16.tif&MINMAX=0:0,6553&PTL=0,0", (255,)), ("FIF=ramp16.tif&MINMAX=1,0,6553&PTL=0,0", (255,)),
    ("FIF=ramp16.tif&MINMAX=-:0,6553&PTL=0,0", (255,)),
])
def test_values_of_section_11(site, query, want):
    """Vectors with one value; a level of tolerance where a float is cut to an integer."""
    px = site.get("/fcgi-bin/iipsrv.fcgi?" + query).pixels()
    px = px.reshape(px.shape[0], px.shape[1], -1)
    assert px.shape[2] == len(want)
    assert np.abs(px[3, 3].astype(int) - want).max() <= (2 if "6553" in query else 1 if len(want) == 1 else 0), px[3, 3]
