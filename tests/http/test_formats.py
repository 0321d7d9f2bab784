# SPDX-License-Identifier: Apache-2.0
"""Output formats out of httpd, opened by independent readers and compared with an independent model of the pixels."""
import io
import subprocess

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms
from PIL.TiffImagePlugin import IFDRational

from common import gray_of, location, near, read, refused

# ---- TIFF (issue 3)

CODINGS = {"none": "None", "lzw": "LZW", "deflate": "AdobeDeflate", "jpeg": "JPEG", "webp": "WEBP", "zstd": "ZSTD"}  # tiffinfo's words
EXACT = ("none", "lzw", "deflate", "zstd")
TIFF = "".join(location("/" + c, "{data}", "IIPTIFFCompression " + c, "IIPMaxArea 0") for c in CODINGS) + location("/i")


def saved(folder, r, name="a.tif"):
    assert r.status == 200 and r["Content-Type"] == "image/tiff", r
    path = folder + "/" + name
    with open(path, "wb") as f:
        f.write(r.body)
    return path


def by_vips(path):
    """The pixels as libvips decodes them."""
    raw = subprocess.run(["vips", "copy", path, path + ".ppm"], capture_output=True, text=True)
    assert raw.returncode == 0 and not raw.stderr, raw.stderr
    return np.asarray(Image.open(path + ".ppm"))


def by_magick(path):
    p = subprocess.run(["convert", path, "-depth", "8", "png:-"], capture_output=True)
    assert p.returncode == 0 and not p.stderr, p.stderr
    return np.asarray(Image.open(io.BytesIO(p.stdout)))


def tiffinfo(path):
    p = subprocess.run(["tiffinfo", "-D", path], capture_output=True, text=True)
    assert p.returncode == 0 and not p.stderr, "tiffinfo complains: " + p.stderr
    return p.stdout


@pytest.mark.parametrize("coding", CODINGS)
def test_tiff_is_read_by_all(serve, data, folder, coding):
    """Exact where the compression is; JPEG and WebP within 3 levels on average of the picture itself."""
    s = serve(TIFF)
    want = read(data + "/photo_deflate.tif")[100:800, 200:1300]
    r = s.get("/%s/photo_deflate.tif/200,100,1100,700/max/0/default.tif" % coding)
    path = saved(folder, r)
    said = tiffinfo(path)
    assert "Compression Scheme: " + CODINGS[coding] in said and said.count("TIFF Directory") == 1
    for px in (np.asarray(Image.open(path).convert("RGB")), by_vips(path), by_magick(path)):
        near(px, want, *((0, 0) if coding in EXACT else (3, 60)))
    if coding in ("none", "deflate"):  # what tifffile can without imagecodecs
        near(tifffile.imread(path), want, 0, 0)
    with tifffile.TiffFile(path) as f:
        page = f.pages[0]
        assert f.byteorder == "<" and not f.is_bigtiff and len(f.pages) == 1 and not page.is_tiled
        assert page.photometric.name == ("YCBCR" if coding == "jpeg" else "RGB")
        assert page.tags["Orientation"].value == 1


@pytest.mark.parametrize("coding", CODINGS)
def test_tiff_scaled(serve, data, folder, coding):
    """/full/500,/ as of every other format: within a rounding of the exact PNG where the compression is exact."""
    s = serve(TIFF)
    got = by_vips(saved(folder, s.get("/%s/photo.tif/full/500,/0/default.tif" % coding)))
    near(got, s.get("/i/photo.tif/full/500,/0/default.png").pixels("RGB"), *((0, 0) if coding in EXACT else (4, 80)))


@pytest.mark.parametrize("coding", CODINGS)
def test_tiff_alpha(serve, data, folder, coding):
    """Straight alpha, as an unassociated extra sample; exact but for WebP, which is lossy in the colours alone."""
    s = serve(TIFF)
    path = saved(folder, s.get("/%s/alpha.tif/full/max/0/default.tif" % coding))
    want = np.asarray(Image.open(data + "/alpha.tif"))
    with tifffile.TiffFile(path) as f:
        assert [int(x) for x in f.pages[0].extrasamples] == [2], "unassociated"
    got = np.asarray(Image.open(path))
    assert got.shape == want.shape and (got[..., 3] == want[..., 3]).all()
    seen = want[..., 3] > 128
    near(got[seen], want[seen], *((0, 0) if coding != "webp" else (3, 60)))
    turned = Image.open(saved(folder, s.get("/%s/photo.tif/full/300,/45/default.tif" % coding)))
    assert turned.mode == "RGBA" and turned.getpixel((0, 0))[3] == 0


@pytest.mark.parametrize("coding", CODINGS)
def test_tiff_gray_and_bitonal(serve, data, folder, coding):
    s = serve(TIFF)
    base = "/%s/photo_deflate.tif/100,100,500,400/max/0/" % coding
    gray = np.asarray(Image.open(saved(folder, s.get(base + "gray.tif"))))
    px = read(data + "/photo_deflate.tif")[100:500, 100:600]
    assert gray.ndim == 2
    near(gray, gray_of(px), *((0.5, 1) if coding != "jpeg" else (3, 40)))
    path = saved(folder, s.get(base + "bitonal.tif"))
    assert "Bits/Sample: 1\n" in tiffinfo(path)
    with Image.open(path) as im:
        assert im.mode == "1"
        exact = s.get("/i/photo_deflate.tif/100,100,500,400/max/0/gray.png").pixels("L")
        near(np.asarray(im) * 255, (exact >= 128) * 255, 0, 0)


def other_profile():
    """A sound RGB profile that is not sRGB: red and green change places."""
    p = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    r, g = p.index(b"rXYZ"), p.index(b"gXYZ")
    p[r:r + 4], p[g:g + 4] = p[g:g + 4], p[r:r + 4]
    return bytes(p).replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))


def test_tiff_metadata(serve, folder):
    icc, xmp = other_profile(), b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
    tifffile.imwrite(folder + "/p.tif", np.full((60, 80, 3), 90, np.uint8), photometric="rgb", resolution=(300, 150, "INCH"),
                     metadata=None, extratags=[(34675, 7, len(icc), icc, True), (700, 1, len(xmp), xmp, True)])
    s = serve(location("/m", folder), fresh=True)
    with tifffile.TiffFile(saved(folder, s.get("/m/p.tif/full/max/0/default.tif"))) as f:
        tags = f.pages[0].tags
        assert bytes(tags[34675].value) == icc and bytes(tags[700].value) == xmp
        assert int(tags["ResolutionUnit"].value) == 2
        for name, dpi in (("XResolution", 300), ("YResolution", 150)):
            n, d = tags[name].value
            assert abs(n / d - dpi) < 0.01
    with tifffile.TiffFile(saved(folder, s.get("/m/p.tif/full/40,/0/gray.tif"))) as f:
        tags = f.pages[0].tags
        assert 34675 not in tags, "gray is in no colour space of the source"
        n, d = tags["XResolution"].value
        assert abs(n / d - 150) < 0.01, "half the pixels on the same paper"


@pytest.mark.parametrize("order", ["<", ">"])
def test_tiff_exif(serve, folder, order):
    """The data of the shot in a directory of its own, whatever the order of bytes in the camera's JPEG."""
    exif = Image.Exif()
    exif.endian = order
    exif[271], exif[274] = "Maker", 6
    exif[34665] = {33434: IFDRational(1, 250), 34855: 400, 36864: b"0230"}
    exif[34853] = {1: "N", 2: (IFDRational(52), IFDRational(30), IFDRational(73, 2))}
    Image.new("RGB", (60, 40), "teal").save(folder + "/shot.jpg", exif=exif)
    s = serve(location("/m", folder), fresh=True)
    path = saved(folder, s.get("/m/shot.jpg/full/max/0/default.tif"))
    assert "Warning" not in tiffinfo(path)
    with Image.open(path) as im:
        assert im.size == (40, 60), "upright"
        got = im.getexif()
        shot, place = got.get_ifd(34665), got.get_ifd(34853)
        assert got[271] == "Maker" and got.get(274, 1) == 1
        assert abs(shot[33434] - 0.004) < 1e-6 and shot[34855] == 400 and shot[36864] == b"0230"
        assert place[1] == "N" and tuple(map(float, place[2])) == (52.0, 30.0, 36.5)


def test_tiff_quality_and_announcement(serve, data):
    s = serve(TIFF + location("/best", "{data}", "IIPQuality tiff 9") + location("/rough", "{data}", "IIPTIFFCompression jpeg", "IIPQuality tiff 20"))
    size = {p: len(s.get("/%s/photo.tif/full/400,/0/default.tif" % p).body) for p in ("deflate", "best", "jpeg", "rough")}
    assert size["best"] < size["deflate"] and size["rough"] < size["jpeg"]
    assert "tif" in s.get("/i/photo.tif/info.json").json()["extraFormats"]
    refused(s.get("/i/photo.tif/full/400,/0/default.tiff"), 400, "syntax")
    tags = {s.get("/%s/photo.tif/full/400,/0/default.tif" % p)["ETag"] for p in size}
    assert len(tags) == 4, "the compression is part of the answer's identity"


def test_tiff_like_other_answers(serve, data):
    s = serve(TIFF)
    url = "/deflate/photo.tif/full/400,/0/default.tif"
    r = s.get(url)
    assert s.get(url, {"If-None-Match": r["ETag"]}).status == 304
    part = s.get(url, {"Range": "bytes=100-299"})
    assert part.status == 206 and part.body == r.body[100:300]
    assert s.request("HEAD", url).body == b""


# ---- JPEG


def frame_of(jpeg):
    """The marker of the frame and the number of scans, walked by hand."""
    at, frame, scans = 2, 0, jpeg.count(b"\xff\xda")
    while jpeg[at + 1] != 0xDA:
        if 0xC0 <= jpeg[at + 1] <= 0xCF and jpeg[at + 1] not in (0xC4, 0xC8, 0xCC):
            frame = jpeg[at + 1]
        at += 2 + int.from_bytes(jpeg[at + 2:at + 4], "big")
    return frame, scans


def by_djpeg(jpeg):
    p = subprocess.run(["djpeg", "-ppm"], input=jpeg, capture_output=True)
    assert p.returncode == 0 and not p.stderr, p.stderr
    return np.asarray(Image.open(io.BytesIO(p.stdout)))


@pytest.mark.any_mpm
def test_progressive_jpeg(serve, data):
    """IIPJPEGProgressive: the whole picture in scans (SOF2), at any size and streamed too, a part of it and a tile in one (SOF0); the
    same pixels. Without room in memory it is baseline as well."""
    s = serve(location("/i") + location("/p", "{data}", "IIPJPEGProgressive On")
              + location("/little", "{data}", "IIPJPEGProgressive On", "IIPMaxMemory 24M"), fresh=True)
    for path, progressive in (("full/max/0/default", 1), ("full/300,/90/gray", 1), ("full/^3000,/!180/default", 1), ("0,0,300,200/max/0/default", 0),
                              ("1,0,1000,700/max/0/default", 0), ("0,0,256,256/256,256/0/default", 0)):
        plain, other = [s.get("/%s/photo_deflate.tif/%s.jpg" % (p, path)) for p in "ip"]
        assert plain.status == other.status == 200
        frame, scans = frame_of(other.body)
        assert frame_of(plain.body) == (0xC0, 1) and (frame, scans > 1) == (0xC2 if progressive else 0xC0, bool(progressive)), path
        assert np.array_equal(by_djpeg(plain.body), by_djpeg(other.body)), path
        assert (plain["ETag"] == other["ETag"]) == (not progressive)
    r = s.get("/little/photo_deflate.tif/full/^4500,/0/default.jpg")
    assert r.status == 200 and frame_of(r.body)[0] == 0xC0
    assert frame_of(s.get("/little/photo_deflate.tif/full/1000,/0/default.jpg").body)[0] == 0xC2


# ---- AVIF, JPEG 2000, GIF, PDF


def by_program(path):
    """By a program that has nothing to do with ours."""
    out = path + ".out"
    how = {"avif": ["avifdec", path, out + ".png"], "jp2": ["opj_decompress", "-i", path, "-o", out + ".ppm"],
           "gif": ["convert", path, out + ".png"], "pdf": ["pdfimages", "-png", path, out]}[path.rsplit(".", 1)[1]]
    subprocess.run(how, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for ending in (".png", ".ppm", "-000.png"):
        try:
            return np.asarray(Image.open(out + ending).convert("RGB"))
        except FileNotFoundError:
            continue


OTHERS = {"avif": ("IIPQuality avif 60", "IIPQuality avif 100", 4, 70), "jp2": ("", "IIPQuality jp2 100", 3, 40),
          "gif": ("", None, 7, 90), "pdf": ("IIPQuality pdf 90", None, 2, 40)}


@pytest.mark.parametrize("form", OTHERS)
def test_other_formats_are_read_by_others(serve, data, folder, form):
    """Within some levels of the picture itself; lossless where the quality says so. A GIF of few colours is exact."""
    usual, best, mean, most = OTHERS[form]
    s = serve(location("/i", "{data}", usual) + location("/best", "{data}", best or ""), fresh=True)
    want = read(data + "/photo_deflate.tif")[300:557, 400:731]
    r = s.get("/i/photo_deflate.tif/400,300,331,257/max/0/default." + form)
    if r.status == 400:
        pytest.skip("built without " + form)
    for at, off in (("/i", (mean, most)), ("/best", (0, 0))):
        if at == "/i" or best:
            r = s.get(at + "/photo_deflate.tif/400,300,331,257/max/0/default." + form)
            assert r.status == 200, r
            path = "%s/%s.%s" % (folder, at[1:], form)
            with open(path, "wb") as f:
                f.write(r.body)
            near(by_program(path), want, *off)
    if form == "gif":
        r = s.get("/i/squares.png/full/max/0/default.gif")
        near(np.asarray(Image.open(io.BytesIO(r.body)).convert("RGB")), read(data + "/squares.png"), 0, 0)


def test_deep_jp2(serve, data, folder):
    """IIPKeepDepth: 16 bits, without loss."""
    px = (np.arange(120 * 90 * 3, dtype=np.uint32) * 2654435761 >> 16 & 0xFFFF).astype(np.uint16).reshape(90, 120, 3)
    tifffile.imwrite(folder + "/deep.tif", px, photometric="rgb")
    s = serve(location("/i", folder, "IIPKeepDepth On", "IIPQuality jp2 100"), fresh=True)
    r = s.get("/i/deep.tif/full/max/0/default.jp2")
    assert r.status == 200, r
    with open(folder + "/deep.jp2", "wb") as f:
        f.write(r.body)
    subprocess.run(["opj_decompress", "-i", folder + "/deep.jp2", "-o", folder + "/deep.rawl"], check=True, stdout=subprocess.DEVNULL)
    got = np.fromfile(folder + "/deep.rawl", "<u2").reshape(3, 90, 120).transpose(1, 2, 0)
    near(got, px, 0, 0)
