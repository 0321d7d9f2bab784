# SPDX-License-Identifier: Apache-2.0
"""What viewers send and how they read the answers (spec/iip.md 12): each is played here as its own source counts, over pictures
whose sides halve evenly and not. A tile that a viewer asks for is answered, and shows the part of the picture it stands for."""
import math
import os
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from common import near, refused, shrink

# sides; the tile size of all is 256
SIZES = [(1000, 700), (1024, 512), (1025, 769), (2047, 900), (257, 256), (256, 256), (200, 100), (3000, 40)]


def place(path, handler, root):
    return '<Location %s>\nSetHandler %s\nIIPRoot "%s"\n</Location>\n' % (path, handler, root)


def waves(w, h):
    x, y = np.arange(w)[None, :] / max(w, h), np.arange(h)[:, None] / max(w, h)
    return np.stack([40 + 170 * x + 0 * y, 40 + 170 * y + 0 * x, 128 + 90 * np.sin(9 * x + 5 * y)], -1).astype(np.uint8)


@pytest.fixture(scope="module")
def pics(work):
    os.umask(0o022)
    d = "%s/tmp/viewers-%d" % (work, os.getpid())
    shutil.rmtree(d, ignore_errors=True)
    os.makedirs(d)
    for w, h in SIZES:
        Image.fromarray(waves(w, h)).save(d + "/x.ppm")
        subprocess.run(["vips", "tiffsave", d + "/x.ppm", "%s/%dx%d.tif" % (d, w, h), "--tile", "--pyramid", "--compression", "jpeg", "--Q", "95",
                        "--tile-width", "256", "--tile-height", "256"], check=True)
    os.unlink(d + "/x.ppm")
    yield d
    shutil.rmtree(d, ignore_errors=True)


@pytest.fixture
def s(serve, pics):
    return serve(place("/dz", "deepzoom-handler", pics) + place("/zf", "zoomify-handler", pics))


def check_tile(s, path, w, h, box):
    """The tile shows box, in parts of the picture (left, top, right, bottom); a small one is left with little colour by JPEG."""
    r = s.get(path)
    assert r.status == 200, (path, r)
    px = r.pixels("RGB")
    if min(px.shape[:2]) < 24:
        return px.shape[1], px.shape[0]
    full = waves(w, h)
    x0, y0, x1, y1 = (int(round(v)) for v in (box[0] * w, box[1] * h, box[2] * w, box[3] * h))
    want = shrink(full[y0:max(y1, y0 + 1), x0:max(x1, x0 + 1)], px.shape[1], px.shape[0])
    near(px, want, 4, 40)
    return px.shape[1], px.shape[0]


def halves(w, h, most):
    """(w, h) and its halves, rounded down, until both fit."""
    out = [(w, h)]
    while out[-1][0] > most or out[-1][1] > most:
        out.append((max(out[-1][0] // 2, 1), max(out[-1][1] // 2, 1)))
    return out


@pytest.mark.parametrize("w,h", SIZES)
def test_openseadragon_deepzoom(s, w, h):
    """Levels from the one that fits a tile; columns by the exact, not a rounded, size of a level."""
    dzi = s.get("/dz/%dx%d.tif.dzi" % (w, h)).body.decode()
    assert re.search(r'xmlns="http://schemas\.microsoft\.com/deepzoom/2008"', dzi)
    top, tile = math.ceil(math.log2(max(w, h))), int(re.search(r'TileSize="(\d+)"', dzi).group(1))
    assert re.search(r'Format="jpg"', dzi) and re.search(r'Overlap="0"', dzi)
    for level in range(max(top - 5, 0), top + 1):
        scale = 2 ** (top - level)
        for x in range(math.ceil(w / scale / tile)):
            for y in range(math.ceil(h / scale / tile)):
                box = (x * tile * scale / w, y * tile * scale / h, min((x + 1) * tile * scale / w, 1), min((y + 1) * tile * scale / h, 1))
                got = check_tile(s, "/dz/%dx%d.tif_files/%d/%d_%d.jpg" % (w, h, level, x, y), w, h, box)
                assert got == (min(tile, math.ceil(w / scale) - x * tile), min(tile, math.ceil(h / scale) - y * tile))


@pytest.mark.parametrize("w,h", SIZES)
def test_openseadragon_zoomify(s, w, h):
    """Size from the page, tiers rounded down, groups of 256 tiles counted over all tiers."""
    tiers = halves(w, h, 256)[::-1]
    grids = [(math.ceil(a / 256), math.ceil(b / 256)) for a, b in tiers]
    for z, (across, down) in enumerate(grids):
        for n in range(across * down):
            group = (sum(a * b for a, b in grids[:z]) + n) // 256
            x, y = n % across, n // across
            a, b = tiers[z]
            box = (x * 256 / a, y * 256 / b, min((x + 1) * 256 / a, 1), min((y + 1) * 256 / b, 1))
            check_tile(s, "/zf/%dx%d.tif/TileGroup%d/%d-%d-%d.jpg" % (w, h, group, z, x, y), w, h, box)


@pytest.mark.parametrize("w,h", SIZES)
def test_openlayers_zoomify(s, w, h):
    """Both ways of counting tiers. A tile more than there is gets 404, which makes it count groups another way."""
    down = [t for t in halves(w, h, 256)]
    up, size = [], 256
    while w > size or h > size:
        up.append((math.ceil(w / size), math.ceil(h / size)))
        size *= 2
    up.append((1, 1))
    truncated = [(math.ceil(a / 256), math.ceil(b / 256)) for a, b in down]
    for z, (across, rows) in enumerate(truncated[::-1]):
        for x, y in {(0, 0), (across - 1, rows - 1), (across // 2, rows // 2)}:
            assert s.get("/zf/%dx%d.tif/TileGroup0/%d-%d-%d.jpg" % (w, h, z, x, y)).status == 200
    for z, (across, rows) in enumerate(up[::-1]):
        for x, y in {(0, 0), (across - 1, rows - 1), (across // 2, rows // 2)}:
            r = s.get("/zf/%dx%d.tif/TileGroup0/%d-%d-%d.jpg" % (w, h, z, x, y))
            if len(up) == len(down) and x < truncated[::-1][z][0] and y < truncated[::-1][z][1]:
                assert r.status == 200
            else:
                assert r.status in (200, 404)


@pytest.mark.parametrize("w,h", SIZES)
def test_iipmooviewer_deepzoom(s, w, h):
    """Regexps on the description, ceil(log2(longest side)) resolutions, level = resolution + 1."""
    dzi = s.get("/dz/%dx%d.tif.dzi" % (w, h)).body.decode()
    fmt = re.search(r'Format="(\w+)"', dzi).group(1)
    tile, mw, mh = (int(re.search(r'%s="(\d+)"' % k, dzi).group(1)) for k in ("TileSize", "Width", "Height"))
    assert (fmt, tile, mw, mh) == ("jpg", 256, w, h)
    count = math.ceil(math.log2(max(w, h)))
    sizes = [(w, h)]
    for _ in range(count - 1):
        sizes.insert(0, (sizes[0][0] // 2, sizes[0][1] // 2))
    for r in range(max(count - 5, 0), count):
        a, b = max(sizes[r][0], 1), max(sizes[r][1], 1)
        across, down = math.ceil(a / tile), math.ceil(b / tile)
        for n in {0, across - 1, across * down - 1, across * down // 2}:
            x, y = n % across, n // across
            box = (x * tile / a, y * tile / b, min((x + 1) * tile / a, 1), min((y + 1) * tile / b, 1))
            check_tile(s, "/dz/%dx%d.tif_files/%d/%d_%d.jpg" % (w, h, r + 1, x, y), w, h, box)


@pytest.mark.parametrize("w,h", SIZES)
def test_iipmooviewer_zoomify(s, w, h):
    """Texts 1, 3 and 11 between double quotes; one halving of the longest side after the other; always TileGroup0."""
    text = s.get("/zf/%dx%d.tif/ImageProperties.xml" % (w, h)).body.decode().split('"')
    assert (int(text[1]), int(text[3]), int(text[11])) == (w, h, 256)
    tiers = halves(w, h, 256)[::-1]
    for z, (a, b) in enumerate(tiers):
        across, down = math.ceil(a / 256), math.ceil(b / 256)
        for n in range(across * down):
            assert s.get("/zf/%dx%d.tif/TileGroup0/%d-%d-%d.jpg" % (w, h, z, n % across, n // across)).status == 200
    refused(s.get("/zf/%dx%d.tif/TileGroup0/%d-0-0.jpg" % (w, h, len(tiers))), 404)


# ---- the Internet Imaging Protocol


@pytest.fixture
def iip(serve, pics):
    return serve(place("/iip", "iip-handler", pics))


def leading(text):
    """parseInt of JavaScript"""
    return int(re.match(r"\s*(-?\d+)", text).group(1))


FIVE = "obj=IIP,1.0&obj=Max-size&obj=Tile-size&obj=Resolution-number&obj=Resolutions"


def metadata(text):
    """As IIPMooViewer and OpenSeadragon split it: (size), (tile), [(size of each resolution)]."""
    size, tile = (text.split(k)[1].split(" ") for k in ("Max-size:", "Tile-size:"))
    count = leading(text.split("Resolution-number:")[1])
    levels = [tuple(leading(v) for v in part.split(" ")[:2]) for part in text.split("Resolutions:")[1].split(",")]
    assert len(levels) == count
    return (leading(size[0]), leading(size[1])), (leading(tile[0]), leading(tile[1])), levels


@pytest.mark.parametrize("w,h", SIZES)
def test_iipmooviewer_iip(iip, w, h):
    fif = "/iip?FIF=%dx%d.tif&" % (w, h)
    r = iip.get(fif + FIVE + "&obj=dpi")
    assert r.status == 200 and r["Content-Type"] == "application/vnd.netfpx" and r["IIP"] == "1.0"
    size, tile, levels = metadata(r.body.decode())
    assert size == levels[-1] == (w, h) and tile == (256, 256)
    for n, (a, b) in enumerate(levels):
        across, down = math.ceil(a / 256), math.ceil(b / 256)
        for t in range(across * down):
            x, y = t % across, t // across
            box = (x * 256 / a, y * 256 / b, min((x + 1) * 256 / a, 1), min((y + 1) * 256 / b, 1))
            got = check_tile(iip, fif + "CNT=1.0&SDS=0,90&JTL=%d,%d" % (n, t), w, h, box)
            assert got == (min(256, a - x * 256), min(256, b - y * 256))
    top = len(levels) - 1
    for modifiers in ("CNT=1.5&SDS=0,90&ROT=180&GAM=0.8&", "SDS=SDS=0,90&", "SHD=45,30&", "CNT=1&ROT=90&"):
        assert iip.get(fif + modifiers + "JTL=%d,0" % top).status == 200, modifiers
    for command, mime in (("PTL", "image/png"), ("WTL", "image/webp"), ("ATL", "image/avif")):
        r = iip.get(fif + "%s=%d,0" % (command, top))
        assert (r.status == 200 and r["Content-Type"] == mime) or (command == "ATL" and r.status == 501), r
    r = iip.get(fif + "WID=150&QLT=98&CVT=jpeg")
    assert r.size == (150, max(1, math.floor(150 * h / w + 0.5)))
    r = iip.get(fif + "WID=120&HEI=100&RGN=0.25,0.25,0.5,0.5&CVT=jpeg")
    assert r.status == 200 and r.size[0] <= 120 and r.size[1] <= 100
    assert iip.get(fif + "obj=stack").json() == []


@pytest.mark.parametrize("w,h", SIZES)
def test_openseadragon_iip(iip, w, h):
    fif = "/iip?FIF=%dx%d.tif&" % (w, h)
    size, tile, levels = metadata(iip.get(fif + FIVE).body.decode())
    assert size == (w, h)
    for n, (a, b) in enumerate(levels):
        across, down = math.ceil(a / tile[0]), math.ceil(b / tile[1])
        for t in {0, across - 1, across * down - 1}:
            assert iip.get(fif + "JTL=%d,%d" % (n, t)).status == 200
    every = "SDS=0,90&CNT=1.2&GAM=0.9&INV&COL=grey&CTW=[1,0,0;0,1,0;0,0,1]&CNV=gaussian&QLT=80&CMP=jet&MINMAX=-:10,240&SHD=30,40&"
    for one in every.split("&")[:-1]:
        assert iip.get(fif + one + "&JTL=0,0").status == 200, one
    assert iip.get(fif + every + "PTL=0,0").status == 200
    plain, inverted = (iip.get(fif + m + "PTL=0,0").pixels("RGB").astype(int) for m in ("", "INV&"))
    near(inverted, 255 - plain, 1, 1)


@pytest.mark.parametrize("w,h", SIZES)
def test_openlayers_iip(iip, w, h):
    """Zoomify's tiers, rounded down, numbered by rows."""
    for z, (a, b) in enumerate(halves(w, h, 256)[::-1]):
        across, down = math.ceil(a / 256), math.ceil(b / 256)
        for t in {0, across - 1, across * down - 1}:
            r = iip.get("/iip?FIF=%dx%d.tif&JTL=%d,%d" % (w, h, z, t))
            assert r.status == 200 and r.size == (min(256, a - t % across * 256), min(256, b - t // across * 256))


def test_leaflet_ivv(iip):
    """Lower case asked, the canonical spelling answered; a range with its channel counted from 1; CMP=grey."""
    fif = "/iip?FIF=1000x700.tif&"
    r = iip.get(fif + "obj=IIP,1.0&obj=max-size&obj=tile-size&obj=resolution-number&obj=bits-per-channel&obj=min-max-sample-values")
    text = r.body.decode()
    assert r.status == 200 and text == ("Max-size:1000 700\r\nTile-size:256 256\r\nResolution-number:3\r\nBits-per-channel:8\r\n"
                                        "Min-Max-sample-values: 0  255  0  255  0  255\r\n")
    values = text.split("Min-Max-sample-values:")[1].split()
    assert [float(v) for v in values[0::2]] == [0, 0, 0] and [float(v) for v in values[1::2]] == [255, 255, 255]
    plain = iip.get(fif + "PTL=2,0").pixels("RGB").astype(int)
    ranged = iip.get(fif + "MINMAX=1,0,127&PTL=2,0").pixels("RGB")
    near(ranged[..., 0], np.minimum(plain[..., 0] * 255 / 127, 255), 1, 1)
    near(ranged[..., 1:], plain[..., 1:], 1, 1)
    r = iip.get(fif + "CMP=grey&PTL=2,0")
    assert r.status == 200
    near(r.pixels("RGB"), np.repeat(plain[..., :1], 3, 2), 1, 1)
    r = iip.get(fif + "obj=max-size&obj=nonsense")
    assert r.status == 200 and r.body.startswith(b"Max-size:1000 700\r\nError/")
