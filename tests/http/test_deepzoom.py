# SPDX-License-Identifier: Apache-2.0
"""DeepZoom and Zoomify by path (spec/iip.md 8), beneath an IIPRoot and in folders that httpd maps. Every level of odd pictures is
put together from its tiles and compared with the stored level, as tifffile reads it, or with the picture shrunk by our own model."""
import math
import os
import re
import shutil
import subprocess

import numpy as np
import pytest
import tifffile
from PIL import Image

from common import near, read, refused, shrink

DZI = ('<Image xmlns="http://schemas.microsoft.com/deepzoom/2008" TileSize="%d" Overlap="0" Format="jpg">'
       '<Size Width="%d" Height="%d"/></Image>')
XML = '<IMAGE_PROPERTIES WIDTH="%d" HEIGHT="%d" NUMTILES="%d" NUMIMAGES="1" VERSION="1.8" TILESIZE="%d"/>'


def place(path, handler, root, *lines):
    return '<Location %s>\nSetHandler %s\nIIPRoot "%s"\n%s\n</Location>\n' % (path, handler, root, "\n".join(lines))


def waves(w, h):
    """Smooth, so that any good reduction of it is close to any other; no two places are alike."""
    x, y = np.arange(w)[None, :] / max(w, h), np.arange(h)[:, None] / max(w, h)
    return np.stack([40 + 170 * x + 0 * y, 40 + 170 * y + 0 * x, 128 + 90 * np.sin(9 * x + 5 * y)], -1).astype(np.uint8)


def pyramid(path, levels, tile):
    """Tiled TIFF, uncompressed, its smaller levels as SubIFDs."""
    with tifffile.TiffWriter(path) as t:
        t.write(levels[0], photometric="rgb", tile=(tile, tile), subifds=len(levels) - 1, metadata=None)
        for px in levels[1:]:
            t.write(px, photometric="rgb", tile=(tile, tile), subfiletype=1, metadata=None)


# name: (levels, largest first, as (width, height); tile), 0: no tiles
PICTURES = {
    "vectors.tif": ([(2000, 1500), (1000, 750), (500, 375), (250, 187)], 256),  # section 11
    "one.tif": ([(1, 1)], 256),
    "line.tif": ([(257, 1)], 256),
    "fit.tif": ([(256, 256)], 256),
    "fits.tif": ([(512, 512), (256, 256)], 256),
    "odd.tif": ([(1001, 701), (501, 351), (251, 176)], 128),
    "tiny.tif": ([(1001, 701), (500, 350), (250, 175), (125, 87), (62, 43), (31, 21)], 256),  # stored below the tile
    "short.tif": ([(1025, 901), (512, 450)], 256),  # a pixel short: a DeepZoom column of which nothing is stored
    "slide.tif": ([(2100, 1500), (525, 375)], 240),
    "bare.tif": ([(700, 500)], 64),
    "strips.tif": ([(700, 500)], 0),
    "plain.png": ([(700, 500)], 0),
}


def levels_of(name):
    """Pixels of the stored levels; smaller ones are of other colours, so that it shows where a tile comes from."""
    full = waves(*PICTURES[name][0][0])
    return [full] + [np.clip(np.rint(shrink(full, *s)) + 12 * (n + 1), 0, 255).astype(np.uint8) for n, s in enumerate(PICTURES[name][0][1:])]


@pytest.fixture(scope="module")
def pics(work):
    os.umask(0o022)
    d = "%s/tmp/deepzoom-%d" % (work, os.getpid())
    shutil.rmtree(d, ignore_errors=True)
    os.makedirs(d + "/p q")
    for name, (_, tile) in PICTURES.items():
        px = levels_of(name)
        if tile:
            pyramid(d + "/" + name, px, tile)
        else:
            Image.fromarray(px[0]).save(d + "/" + name)
    Image.fromarray(waves(1001, 701)).save(d + "/plain.jpg", quality=95)
    shutil.copy(d + "/fits.tif", d + "/p q/f.tif")
    shutil.copy(d + "/fits.tif", d + "/x_files.tif")
    with tifffile.TiffWriter(d + "/pages.tif") as t:
        for v in (10, 200):
            t.write(np.full((300, 400), v, np.uint8), photometric="minisblack", metadata=None)
    yield d
    shutil.rmtree(d, ignore_errors=True)


@pytest.fixture
def s(serve, pics):
    return serve(place("/dz", "deepzoom-handler", pics) + place("/zf", "zoomify-handler", pics) + place("/iiif", "iiif-handler", pics))


def stitch(s, ask, w, h, side):
    """The level of w x h pixels out of its tiles; ask(column, row) is the path of one."""
    rows = []
    for y in range(0, h, side):
        row = []
        for x in range(0, w, side):
            r = s.get(ask(x // side, y // side))
            assert r.status == 200, (ask(x // side, y // side), r)
            px = r.pixels("RGB")
            assert px.shape[:2] == (min(side, h - y), min(side, w - x)), (ask(x // side, y // side), px.shape)
            row.append(px)
        rows.append(np.concatenate(row, 1))
    for over in (ask(-(-w // side), 0), ask(0, -(-h // side))):
        refused(s.get(over), 404, "not-found")
    return np.concatenate(rows)


def expect(name, got, w, h):
    """got is the stored level of that size; or one a pixel short, its last row and column repeated; or scaled from the next larger."""
    stored = levels_of(name)
    for px in stored:
        sh, sw = px.shape[:2]
        if (sw, sh) == (w, h):
            near(got, px, 0, 0)
            return "stored"
        if w - sw in (0, 1) and h - sh in (0, 1) and max(w, h) > 2:
            near(got, px[np.minimum(np.arange(h), sh - 1)][:, np.minimum(np.arange(w), sw - 1)], 0, 0)
            return "short"
    larger = [px for px in stored if px.shape[1] >= w and px.shape[0] >= h][-1]
    near(got, shrink(larger, w, h), 1.2, 8)
    return "made"


# ---- every tile


@pytest.mark.parametrize("name", list(PICTURES))
def test_deepzoom_levels(s, name):
    (w, h), tile = PICTURES[name][0][0], PICTURES[name][1] or 256
    r = s.get("/dz/%s.dzi" % name)
    assert r.status == 200 and r["Content-Type"] == "application/xml" and r.body.decode() == DZI % (tile, w, h)
    depth = math.ceil(math.log2(max(w, h)))
    how = []
    for level in range(depth + 1):
        lw, lh = -(-w // 2 ** (depth - level)), -(-h // 2 ** (depth - level))
        got = stitch(s, lambda x, y: "/dz/%s_files/%d/%d_%d.png" % (name, level, x, y), lw, lh, tile)
        how.append(expect(name, got, lw, lh))
    assert how[-1] == "stored"
    assert "short" in how if name == "short.tif" else True
    refused(s.get("/dz/%s_files/%d/0_0.png" % (name, depth + 1)), 404)


@pytest.mark.parametrize("name", list(PICTURES))
def test_zoomify_tiers(s, name):
    levels, tile = PICTURES[name]
    tile = tile or 256
    sizes = [levels[0]]
    while max(sizes[-1]) > tile:  # a stored level where there is one, else halved down
        n, (w, h) = len(sizes), sizes[-1]
        here = [l for l in levels if abs(l[0] * 2 ** n - levels[0][0]) < 2 ** n and abs(l[1] * 2 ** n - levels[0][1]) < 2 ** n]
        sizes.append(here[0] if here else (max(w // 2, 1), max(h // 2, 1)))
    tiles = sum(-(-w // tile) * -(-h // tile) for w, h in sizes)
    r = s.get("/zf/%s/ImageProperties.xml" % name)
    assert r.status == 200 and r["Content-Type"] == "application/xml" and r.body.decode() == XML % (levels[0] + (tiles, tile))
    assert [r.body.decode().split('"')[i] for i in (1, 3, 11)] == [str(levels[0][0]), str(levels[0][1]), str(tile)]
    for z, (w, h) in enumerate(reversed(sizes)):
        got = stitch(s, lambda x, y: "/zf/%s/TileGroup%d/%d-%d-%d.png" % (name, (x + y) % 3, z, x, y), w, h, tile)
        expect(name, got, w, h)
    refused(s.get("/zf/%s/TileGroup0/%d-0-0.png" % (name, len(sizes))), 404)


@pytest.mark.any_mpm
def test_vectors(s):
    """Section 11, but the DeepZoom grid wins where a stored level is a pixel short (section 8.1)."""
    for path, size in (("/dz/vectors.tif_files/11/7_5.jpg", (208, 220)), ("/dz/vectors.tif_files/8/0_0.jpg", (250, 188)),
                       ("/dz/vectors.tif_files/0/0_0.jpg", (1, 1)), ("/zf/vectors.tif/TileGroup0/3-7-5.jpg", (208, 220)),
                       ("/zf/vectors.tif/TileGroup0/0-0-0.jpg", (250, 187))):
        assert s.get(path).size == size, path
    assert b' NUMTILES="65" ' in s.get("/zf/vectors.tif/ImageProperties.xml").body
    for path in ("/dz/vectors.tif_files/11/8_0.jpg", "/dz/vectors.tif_files/11/0_6.jpg", "/dz/vectors.tif_files/12/0_0.jpg",
                 "/zf/vectors.tif/TileGroup0/3-8-0.jpg", "/zf/vectors.tif/TileGroup0/3-0-6.jpg", "/zf/vectors.tif/TileGroup0/4-0-0.jpg"):
        refused(s.get(path), 404)


def test_one_huge_tile(serve, folder):
    """A picture stored as one tile that is larger than an answer may be is shown in tiles as one that has none."""
    px = np.zeros((5200, 5100), np.uint8)
    px[:, 2600:] = 200
    tifffile.imwrite(os.path.join(folder, "one.tif"), px, tile=(5200, 5104), photometric="minisblack", compression="zlib", metadata=None)
    t = serve(place("/iip", "iip-handler", folder))
    assert t.get("/iip?FIF=one.tif&OBJ=Tile-size&OBJ=Resolution-number").body == b"Tile-size:256 256\r\nResolution-number:6\r\n"
    near(t.get("/iip?FIF=one.tif&PTL=5,%d" % (20 * 20 + 10)).pixels(), px[5120:, 2560:2816], 0, 0)
    assert t.get("/iip?DeepZoom=one.tif.dzi").body.decode() == DZI % (256, 5100, 5200)
    near(t.get("/iip?DeepZoom=one.tif_files/13/10_20.png").pixels(), px[5120:, 2560:2816], 0, 0)
    assert t.get("/iip?Zoomify=one.tif/TileGroup0/5-0-0.jpg").size == (256, 256)


def test_jpeg(s):
    """Tiles of 256, levels are halved."""
    assert DZI % (256, 1001, 701) == s.get("/dz/plain.jpg.dzi").body.decode()
    full = waves(1001, 701)
    near(stitch(s, lambda x, y: "/dz/plain.jpg_files/10/%d_%d.png" % (x, y), 1001, 701, 256), full, 2, 12)
    near(stitch(s, lambda x, y: "/dz/plain.jpg_files/8/%d_%d.png" % (x, y), 251, 176, 256), shrink(full, 251, 176), 2, 12)
    near(stitch(s, lambda x, y: "/zf/plain.jpg/TileGroup0/1-%d-%d.png" % (x, y), 500, 350, 256), shrink(full, 500, 350), 2, 12)


def test_wavelet(serve, folder):
    """JPEG 2000: tiles of 256 whatever the file has, levels are the wavelet's own, as opj_decompress gives them."""
    Image.fromarray(waves(1001, 701)).save(folder + "/w.ppm")
    subprocess.run(["opj_compress", "-i", folder + "/w.ppm", "-o", folder + "/w.jp2", "-n", "4", "-t", "300,300"], check=True, stdout=subprocess.DEVNULL)
    t = serve(place("/dz", "deepzoom-handler", folder) + place("/zf", "zoomify-handler", folder))
    assert t.get("/dz/w.jp2.dzi").body.decode() == DZI % (256, 1001, 701)
    assert t.get("/zf/w.jp2/ImageProperties.xml").body.decode() == XML % (1001, 701, 12 + 4 + 1, 256)
    for k, (w, h) in enumerate(((1001, 701), (501, 351), (251, 176), (126, 88))):
        subprocess.run(["opj_decompress", "-i", folder + "/w.jp2", "-o", folder + "/r.ppm", "-r", str(k)], check=True, stdout=subprocess.DEVNULL)
        want = read(folder + "/r.ppm")
        near(stitch(t, lambda x, y: "/dz/w.jp2_files/%d/%d_%d.png" % (10 - k, x, y), w, h, 256), want, 0, 0)
        if k < 3:
            near(stitch(t, lambda x, y: "/zf/w.jp2/TileGroup0/%d-%d-%d.png" % (2 - k, x, y), w, h, 256), want, 0, 0)


# ---- answers


@pytest.mark.any_mpm
@pytest.mark.parametrize("path,mime", [("/dz/odd.tif.dzi", "application/xml"), ("/zf/odd.tif/ImageProperties.xml", "application/xml"),
                                       ("/dz/odd.tif_files/10/1_1.jpg", "image/jpeg"), ("/zf/odd.tif/TileGroup0/3-1-1.jpg", "image/jpeg")])
def test_headers(s, path, mime):
    r = s.get(path)
    assert r.status == 200 and r["Content-Type"] == mime and int(r["Content-Length"]) == len(r.body)
    assert r["Access-Control-Allow-Origin"] == "*" and r["Cache-Control"] == "max-age=86400" and r["Last-Modified"]
    assert re.fullmatch('"[0-9a-f]{32}"', r["ETag"])
    h = s.head_of(path)
    assert h.status == 200 and h.body == b"" and h["ETag"] == r["ETag"] and h["Content-Type"] == mime
    for cond in ({"If-None-Match": r["ETag"]}, {"If-Modified-Since": r["Last-Modified"]}):
        n = s.get(path, cond)
        assert n.status == 304 and n["ETag"] == r["ETag"] and n["Access-Control-Allow-Origin"] == "*" and n["Cache-Control"], cond
    part = s.get(path, {"Range": "bytes=5-14"})
    assert part.status == 206 and part.body == r.body[5:15]
    for query in ("?", "?v=123", "?DeepZoom=one.tif.dzi", "?%zz"):  # cache busters
        q = s.get(path + query)
        assert q.status == 200 and q.body == r.body and q["ETag"] == r["ETag"], query
    o = s.request("OPTIONS", path)
    assert o.status == 204 and o["Access-Control-Allow-Methods"] == "GET, HEAD, POST, OPTIONS"
    for target, body in ((path, b""), (path, b"a=b"), (path + "?x=y", b"FIF=one.tif&CVT=png")):
        p = s.request("POST", target, body=body)
        assert p.status == 200 and p.body == r.body and p["ETag"] == r["ETag"]
    refused(s.request("POST", path, body=b"a" * 70000), 413)
    assert refused(s.request("DELETE", path), 405)["Allow"] == "GET, HEAD, POST, OPTIONS"


def test_formats_by_extension(s):
    stem = "/dz/fits.tif_files/9/1_0."
    jpg = s.get(stem + "jpg")
    for ext, mime in (("jpeg", "image/jpeg"), ("png", "image/png"), ("webp", "image/webp")):
        r = s.get(stem + ext)
        assert r.status == 200 and r["Content-Type"] == mime and r.size == (256, 256)
        assert (r["ETag"] == jpg["ETag"]) == (mime == "image/jpeg")
        z = s.get("/zf/fits.tif/TileGroup0/1-1-0." + ext)
        assert z.body == r.body and z["ETag"] == r["ETag"], "one tile, whoever asks"
    avif = s.get(stem + "avif")
    assert avif.status == 404 or (avif["Content-Type"] == "image/avif" and avif.body[4:12] == b"ftypavif")
    i = s.get("/iiif/fits.tif/256,0,256,256/max/0/default.jpg")
    assert i.body == jpg.body and i["ETag"] == jpg["ETag"]
    for ext in ("gif", "tif", "bmp", "JPG", "jpgx", "jp2", "pdf"):
        refused(s.get(stem + ext), 404)


@pytest.mark.parametrize("path", [
    "/dz/none.tif.dzi", "/dz/none.tif_files/0/0_0.jpg", "/zf/none.tif/ImageProperties.xml", "/zf/none.tif/TileGroup0/0-0-0.jpg", "/dz/none.tif", "/dz", "/dz/",
    "/dz/fits.tif_files/9/-1_0.jpg", "/dz/fits.tif_files/9/0_0", "/dz/fits.tif_files/9/", "/dz/fits.tif_files/", "/dz/fits.tif_files/x/0_0.jpg", "/dz/fits.tif/0_0.jpg",
    "/dz/fits.tif_files/9/99999999999999999999_0.jpg", "/dz/fits.tif_files/18446744073709551617/0_0.jpg", "/dz/fits.tif_files/9/0_0.jpg/", "/dz/fits.tif.dzi/",
    "/zf/fits.tif/TileGroup0/0-0.jpg", "/zf/fits.tif/TileGroup/0-0-0.jpg", "/zf/fits.tif/tilegroup0/0-0-0.jpg", "/zf/fits.tif/TileGroup0/4294967296-0-0.jpg",
    "/zf/fits.tif/0-0-0.jpg", "/dz/p%2F%2e%2e%2Ffits.tif.dzi", "/dz/.dzi", "/dz/p%20q/.dzi", "/dz/p%20q.dzi", "/dz/p%20q_files/0/0_0.jpg", "/dz/p%20q/_files/0/0_0.jpg",
    "/zf/p%20q/ImageProperties.xml", "/dz/a%00.tif.dzi", "/dz/a%5Cb.tif.dzi"])
def test_not_found(s, path):
    r = refused(s.get(path), 404, "not-found")
    assert r["Content-Type"] == "text/plain; charset=utf-8" and r.body.endswith(b"\n") and b"/" not in r.body


def test_names(s):
    for name in ("p%20q/f.tif", "p%20q%2Ff.tif", "//p%20q//f.tif", "%70%20q/f%2etif", "x_files.tif"):
        assert s.get("/dz/%s.dzi" % name).status == 200, name
        assert s.get("/dz/%s_files/9/1_1.png" % name).size == (256, 256), name
        assert s.get("/zf/%s/ImageProperties.xml" % name).status == 200, name
        assert s.get("/zf/%s//TileGroup0/1-1-1.png" % name).size == (256, 256), name
    for n, v in ((1, 10), (2, 200)):
        assert (s.get("/dz/pages.tif;%d_files/9/0_0.png" % n).pixels("L") == v).all()
        assert (s.get("/zf/pages.tif;%d/TileGroup0/0-0-0.png" % n).pixels("L") == v).all()
    refused(s.get("/dz/pages.tif;3.dzi"), 404)


def test_bare(s, serve, pics):
    """A plain name leads to the description, or to what IIIFBare says."""
    r = s.get("/dz/p%20q/f.tif")
    assert r.status == 303 and r["Location"] == s.base + "/dz/p%20q/f.tif.dzi"
    r = s.get("/zf/fits.tif")
    assert r.status == 303 and r["Location"] == s.base + "/zf/fits.tif/ImageProperties.xml"
    f = serve(place("/dz", "deepzoom-handler", pics, "IIIFBare file") + place("/none", "zoomify-handler", pics, "IIIFBare none"))
    assert f.get("/dz/fits.tif").body == open(pics + "/fits.tif", "rb").read()
    refused(f.get("/none/fits.tif"), 403)


def test_limits(serve, pics):
    t = serve(place("/dz", "deepzoom-handler", pics, "IIPMaxSize 200"))
    r = refused(t.get("/dz/fits.tif_files/9/0_0.jpg"), 400, "limit")
    assert r["Content-Type"] == "text/plain; charset=utf-8"
    assert t.get("/dz/fits.tif_files/7/0_0.jpg").size == (128, 128)


# ---- pass-through


def scan(jpeg):
    """What follows the first start of scan."""
    return jpeg[jpeg.index(b"\xff\xda"):]


def test_pass_through(serve, data, folder):
    """Interior tiles leave as they are stored; on the edge they are cut."""
    src = folder + "/j.tif"
    subprocess.run(["vips", "tiffsave", data + "/photo.jpg", src, "--tile", "--pyramid", "--compression", "jpeg", "--Q", "80", "--tile-width", "256",
                    "--tile-height", "256"], check=True)
    t = serve(place("/dz", "deepzoom-handler", folder) + place("/zf", "zoomify-handler", folder))
    with tifffile.TiffFile(src) as f:
        pages = [p for p in f.pages]
        w, h = pages[0].shape[1], pages[0].shape[0]
        depth = math.ceil(math.log2(max(w, h)))
        passed = 0
        for k, page in enumerate(pages):
            lh, lw = page.shape[:2]
            across = -(-lw // 256)
            for x, y in ((0, 0), (1, 1), (lw // 256 - 1, lh // 256 - 1), (lw // 256, 0), (0, lh // 256)):
                if x < 0 or y < 0 or x * 256 >= lw or y * 256 >= lh:
                    continue
                r = t.get("/dz/j.tif_files/%d/%d_%d.jpg" % (depth - k, x, y))
                n = y * across + x
                f.filehandle.seek(page.dataoffsets[n])
                stored = f.filehandle.read(page.databytecounts[n])
                whole = (x + 1) * 256 <= lw and (y + 1) * 256 <= lh
                assert (scan(r.body) == scan(stored)) == whole, (k, x, y)
                passed += whole
                z = t.get("/zf/j.tif/TileGroup0/%d-%d-%d.jpg" % (len(pages) - 1 - k, x, y))
                assert z.body == r.body
        assert passed > 6
    # what is seen is the stored picture
    px = read(src)
    for x, y in ((3, 2), (9, 6)):
        near(t.get("/dz/j.tif_files/%d/%d_%d.jpg" % (depth, x, y)).pixels("RGB"), px[y * 256:y * 256 + 256, x * 256:x * 256 + 256], 2, 60)


# ---- folders that httpd maps


CONF = """
<Directory "{site}">
    Require all granted
    AllowOverride FileInfo AuthConfig Options
</Directory>
Alias /s "{site}"
"""


def put(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)


@pytest.fixture
def site(serve, folder, pics):
    def make(htaccess):
        for n in ("fits.tif", "odd.tif", "plain.jpg", "pages.tif"):
            shutil.copy(pics + "/" + n, folder)
        put(folder + "/page.html", "<p>page</p>\n")
        put(folder + "/.htaccess", htaccess)
        put(folder + "/closed/.htaccess", "Require all denied\n")
        shutil.copy(pics + "/fits.tif", folder + "/closed/c.tif")
        # a DeepZoom picture of files stays what it is
        put(folder + "/made.tif.dzi", "<Image/>")
        put(folder + "/made.tif_files/0/0_0.jpg", "a file")
        shutil.copy(pics + "/fits.tif", folder + "/made.tif")
        return serve(CONF.replace("{site}", folder))

    return make


@pytest.mark.any_mpm
@pytest.mark.log("AH01630|AH01797")
def test_folder_of_deepzoom(site):
    m = site("SetHandler deepzoom-handler\n")
    assert m.get("/s/fits.tif.dzi").body.decode() == DZI % (256, 512, 512)
    assert m.get("/s/odd.tif_files/10/7_5.png").size == (1001 - 7 * 128, 701 - 5 * 128)
    assert m.get("/s/pages.tif;2.dzi").status == 200
    r = m.get("/s/fits.tif_files/9/2_0.jpg")
    assert refused(r, 404)["Content-Type"] == "text/plain; charset=utf-8"
    refused(m.get("/s/fits.tif_files/9/0_0.gif"), 404)
    for path in ("/s/none.tif.dzi", "/s/none.tif_files/0/0_0.jpg", "/s/page.html.dzi", "/s/page.html_files/0/0_0.jpg", "/s/.dzi"):
        assert m.get(path).status == 404, path
    for path in ("/s/closed/c.tif.dzi", "/s/closed/c.tif_files/9/0_0.jpg"):
        assert m.get(path).status == 403, path
    # what is a file is served as one
    assert m.get("/s/page.html").body == b"<p>page</p>\n"
    assert m.get("/s/made.tif.dzi").body == b"<Image/>"
    assert m.get("/s/made.tif_files/0/0_0.jpg").body == b"a file"
    r = m.get("/s/fits.tif")
    assert r.status == 200 and r.body[:2] == b"II"
    o = m.request("OPTIONS", "/s/fits.tif_files/9/0_0.jpg")
    assert o.status == 204 and o["Access-Control-Allow-Origin"] == "*"


@pytest.mark.any_mpm
@pytest.mark.log("AH01630|AH01797")
def test_folder_of_zoomify(site):
    m = site("SetHandler zoomify-handler\n")
    assert m.get("/s/fits.tif/ImageProperties.xml").body.decode() == XML % (512, 512, 5, 256)
    assert m.get("/s/odd.tif/TileGroup0/3-7-5.png").size == (1001 - 7 * 128, 701 - 5 * 128)
    refused(m.get("/s/fits.tif/TileGroup0/1-2-0.jpg"), 404)
    refused(m.get("/s/fits.tif/other.xml"), 404)
    assert m.get("/s/pages.tif;2/ImageProperties.xml").status == 200
    for path in ("/s/none.tif/ImageProperties.xml", "/s/page.html/ImageProperties.xml", "/s/page.html/TileGroup0/0-0-0.jpg"):
        assert m.get(path).status == 404, path
    assert m.get("/s/closed/c.tif/ImageProperties.xml").status == 403
    assert m.get("/s/page.html").body == b"<p>page</p>\n"
    r = m.get("/s/fits.tif")
    assert r.status == 200 and r.body[:2] == b"II"


def test_folder_of_several(site):
    """conf/examples/viewers.conf: one folder, three protocols."""
    with open(os.path.join(os.path.dirname(__file__), "..", "..", "conf", "examples", "viewers.conf")) as f:
        text = f.read()
    htaccess = re.search(r"^# --- \.htaccess\n(.*)\Z", text, re.S | re.M).group(1)
    m = site(htaccess)
    assert m.get("/s/fits.tif/info.json").json()["width"] == 512
    assert m.get("/s/fits.tif/0,0,256,256/max/0/default.jpg").size == (256, 256)
    assert m.get("/s/fits.tif.dzi").body.decode() == DZI % (256, 512, 512)
    assert m.get("/s/fits.tif_files/9/1_1.jpg").size == (256, 256)
    assert m.get("/s/fits.tif/ImageProperties.xml").body.decode() == XML % (512, 512, 5, 256)
    assert m.get("/s/fits.tif/TileGroup0/1-1-1.jpg").size == (256, 256)
    assert m.get("/s/made.tif.dzi").body == b"<Image/>"
    assert m.get("/s/page.html").body == b"<p>page</p>\n"
    refused(m.get("/s/fits.tif/full/bad/0/default.jpg"), 400)


def test_locations_of_several(serve, pics):
    """The same file's first part: a Location for each protocol."""
    with open(os.path.join(os.path.dirname(__file__), "..", "..", "conf", "examples", "viewers.conf")) as f:
        text = f.read()
    conf = re.search(r"^(<Location.*)^# --- \.htaccess", text, re.S | re.M).group(1)
    m = serve(conf.replace("/srv/pictures", pics))
    assert m.get("/iiif/fits.tif/info.json").json()["width"] == 512
    assert m.get("/deepzoom/fits.tif.dzi").body.decode() == DZI % (256, 512, 512)
    assert m.get("/zoomify/fits.tif/ImageProperties.xml").body.decode() == XML % (512, 512, 5, 256)
    assert m.get("/iip?FIF=fits.tif&WID=500&CVT=jpeg").size == (500, 500)
    assert m.get("/iip?DeepZoom=fits.tif.dzi").body.decode() == DZI % (256, 512, 512)


# ---- in a query of IIP (section 8): DeepZoom=, Zoomify=, IIIF=


@pytest.fixture
def q(serve, pics):
    return serve(place("/dz", "deepzoom-handler", pics) + place("/zf", "zoomify-handler", pics) + place("/iiif", "iiif-handler", pics)
                 + place("/iip", "iip-handler", pics))


@pytest.mark.any_mpm
@pytest.mark.parametrize("query,path", [
    ("DeepZoom=fits.tif.dzi", "/dz/fits.tif.dzi"), ("DEEPZOOM=/fits.tif.dzi", "/dz/fits.tif.dzi"), ("deepzoom=fits.tif_files/9/1_1.png", "/dz/fits.tif_files/9/1_1.png"),
    ("DeepZoom=p%20q/f.tif_files/8/0_0.jpg", "/dz/p%20q/f.tif_files/8/0_0.jpg"), ("DeepZoom=p%20q%2Ff.tif_files%2F8%2F0_0.jpg", "/dz/p%20q/f.tif_files/8/0_0.jpg"),
    ("Zoomify=fits.tif/ImageProperties.xml", "/zf/fits.tif/ImageProperties.xml"), ("zoomify=/fits.tif//TileGroup0/1-1-0.jpg", "/zf/fits.tif/TileGroup0/1-1-0.jpg"),
    ("v=1&Zoomify=fits.tif/TileGroup3/0-0-0.webp", "/zf/fits.tif/TileGroup0/0-0-0.webp"), ("DeepZoom=fits.tif_files/9/1_0.jpg&INV&_=7", "/dz/fits.tif_files/9/1_0.jpg"),
    ("DeepZoom=pages.tif;2_files/9/0_0.png", "/dz/pages.tif;2_files/9/0_0.png"), ("IIIF=fits.tif/full/100,/0/default.jpg", "/iiif/fits.tif/full/100,/0/default.jpg"),
    ("iiif=p%20q%2Ff.tif/0,0,256,256/max/0/gray.png", "/iiif/p%20q%2Ff.tif/0,0,256,256/max/0/gray.png")])
def test_query(q, query, path):
    a, b = q.get("/iip?" + query), q.get(path)
    assert a.status == 200 and a.body == b.body and a["Content-Type"] == b["Content-Type"] and a["ETag"] == b["ETag"], (a, b)
    assert q.get("/iip?" + query, {"If-None-Match": a["ETag"]}).status == 304
    h = q.head_of("/iip?" + query)
    assert h.status == 200 and h["ETag"] == a["ETag"] and h.body == b""
    assert q.request("POST", "/iip", {"Content-Type": "application/x-www-form-urlencoded"}, query.encode()).body == a.body


def test_query_info(q):
    """The id of an IIIF service in a query leads back there."""
    i = q.get("/iip?IIIF=p%20q/f.tif/info.json").json()
    assert i["width"] == 512
    ident = i["id"].replace(q.base, "")
    assert ident.startswith("/iip?IIIF=")
    assert q.get(ident + "/0,0,256,256/max/0/default.jpg").size == (256, 256)
    assert q.get(ident + "/info.json").json() == i


def test_query_modifiers(q):
    """Commands of IIP in front apply to the tile, those behind do not."""
    plain = q.get("/dz/fits.tif_files/9/1_0.png").pixels("RGB").astype(int)
    for before, want in (("INV", 255 - plain), ("CNT=0.5", np.floor(plain * 0.5)), ("ROT=90", np.rot90(plain, -1)), ("MINMAX=-:0,127", np.minimum(plain * 255 // 127, 255))):
        for sender in ("DeepZoom=fits.tif_files/9/1_0.png", "Zoomify=fits.tif/TileGroup0/1-1-0.png"):
            near(q.get("/iip?%s&%s" % (before, sender)).pixels("RGB"), want, 1, 1)
            near(q.get("/iip?%s&%s" % (sender, before)).pixels("RGB"), plain, 0, 0)
    # upside down a viewer numbers as ever
    there = q.get("/dz/odd.tif_files/10/7_5.png").pixels("RGB")
    near(q.get("/iip?ROT=180&DeepZoom=odd.tif_files/10/0_0.png").pixels("RGB"), there[::-1, ::-1], 0, 0)
    grey = q.get("/iip?COL=grey&DeepZoom=fits.tif_files/9/1_0.png").pixels("L")
    near(grey, plain @ np.array([0.299, 0.587, 0.114]), 0.6, 1)
    a, b = (q.get("/iip?QLT=%d&DeepZoom=fits.tif_files/9/1_0.jpg" % n) for n in (10, 90))
    assert len(a.body) < len(b.body) and a["ETag"] != b["ETag"]


def test_query_errors(q):
    for query in ("DeepZoom=none.tif.dzi", "DeepZoom=fits.tif_files/9/2_0.jpg", "DeepZoom=fits.tif_files/10/0_0.jpg", "DeepZoom=fits.tif_files/9/0_0.gif",
                  "Zoomify=fits.tif/TileGroup0/2-0-0.jpg", "Zoomify=none.tif/ImageProperties.xml", "DeepZoom=../fits.tif.dzi", "DeepZoom=a%00.tif.dzi",
                  "DeepZoom=%2e%2e/fits.tif.dzi", "Zoomify=..%2Ffits.tif/ImageProperties.xml", "DeepZoom=fits.tif_files/9/0_0", "DeepZoom=/"):
        r = refused(q.get("/iip?" + query), 404, "not-found")
        assert r["Content-Type"] == "text/plain; charset=utf-8", query
    assert q.get("/iip?CTW=[nonsense]&DeepZoom=fits.tif_files/9/0_0.jpg").status in (200, 400)
    for before in ("GAM=nan", "SDS=x", "WID=%zz"):
        r = refused(q.get("/iip?%s&DeepZoom=fits.tif.dzi" % before), 400, "syntax")
        assert r.body.startswith(before[:3].encode() + b": ") and r["Content-Type"] == "text/plain; charset=utf-8"


@pytest.mark.log("AH01630|AH01797")
def test_query_in_a_folder(site):
    """A folder with iip-handler: names are those of the site."""
    m = site("SetHandler iip-handler\n")
    assert m.get("/s/?DeepZoom=/s/fits.tif.dzi").body.decode() == DZI % (256, 512, 512)
    assert m.get("/s/?DeepZoom=/s/fits.tif_files/9/1_1.jpg").size == (256, 256)
    assert m.get("/s/?Zoomify=/s/fits.tif/TileGroup0/1-1-1.jpg").size == (256, 256)
    assert m.get("/s/?IIIF=/s/fits.tif/info.json").json()["width"] == 512
    for name in ("closed/c.tif.dzi", "closed/c.tif_files/9/0_0.jpg", "closed%2Fc.tif_files/9/0_0.jpg"):
        assert m.get("/s/?DeepZoom=/s/" + name).status == 403, name
    for name in ("none.tif.dzi", "../s/fits.tif.dzi", ".htaccess.dzi", "fits.tif_files/9/2_0.jpg"):
        refused(m.get("/s/?DeepZoom=/s/" + name), 404)
    assert m.get("/s/?DeepZoom=/s/page.html.dzi").status in (404, 415)
    assert m.get("/s/page.html").body == b"<p>page</p>\n"
