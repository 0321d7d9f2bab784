# SPDX-License-Identifier: Apache-2.0
"""Colours, depth and texts of answers (R30, R31, R32, R40). Colours are compared by CIEDE2000 with models: matrix and curves in numpy
from the numbers the profiles were made of, and lcms2's own tificc for inks."""
import os
import subprocess
import tempfile

import numpy as np
import pytest
import tifffile
from PIL import Image

from colours import delta_e, encoded, light
from common import difference, location, near, shrink
from make_colour import GREY_GAMMA, SPACES, XMP, to_xyz

DATA = "{data}/colour"
CONF = (location("/embed", DATA) + location("/convert", DATA, "IIPProfile convert") + location("/strip", DATA, "IIPProfile strip")
        + location("/deep", DATA, "IIPKeepDepth On") + location("/deepconvert", DATA, "IIPKeepDepth On", "IIPProfile convert")
        + location("/owned", DATA, 'IIPCopyright "(c) Bibliothèque \\"X\\""') + location("/small", DATA, "IIPMaxICC 100"))


def ask(s, path):
    r = s.get("/" + path)
    assert r.status == 200, (path, r)
    return r


def icc_of(r):
    return r.image().info.get("icc_profile")


def stored(data, name):
    return tifffile.imread("%s/colour/%s" % (data, name))


def profile(data, name):
    with open("%s/colour/%s.icc" % (data, name), "rb") as f:
        return f.read()


def same_colours(got, want, most=1.0):
    assert got.shape == want.shape, (got.shape, want.shape)
    d = delta_e(got, want)
    assert d.max() <= most, "CIEDE2000 %.2f (mean %.2f)" % (d.max(), d.mean())


def in_srgb(px, space):
    """The model: a picture (0..1) of a space to sRGB."""
    m = np.linalg.inv(to_xyz("srgb")) @ to_xyz(space)
    return encoded(light(px, SPACES[space][1]) @ m.T)


def gray_in_srgb(px):
    return np.repeat(encoded(px ** GREY_GAMMA)[..., None], 3, 2)


def three(px, top):
    px = px.astype(float) / top
    return np.repeat(px[..., None], 3, 2) if px.ndim == 2 else px


# ---- profiles


@pytest.mark.any_mpm
@pytest.mark.parametrize("name", ["adobe", "wide"])
@pytest.mark.parametrize("fmt", ["jpg", "png"])
def test_embedded(serve, data, name, fmt):
    """The values stay, the profile goes along: to the byte."""
    s = serve(CONF)
    for source in (name + ".tif", name + ".jpg", *(["adobe-tiles.tif"] if name == "adobe" else [])):
        for path in ("full/max", "full/150,", "0,0,128,128/128,128", "10,20,50,60/max"):
            r = ask(s, "embed/%s/%s/0/default.%s" % (source, path, fmt))
            assert icc_of(r) == profile(data, name), (source, path)
    if fmt == "png":
        near(ask(s, "embed/%s.tif/full/max/0/default.png" % name).pixels(), stored(data, name + ".tif"), 0, 0)


def test_not_embedded(serve, data):
    """sRGB is never sent, what is damaged or too large is not, grey of colours is not; STRIP sends nothing."""
    s = serve(CONF)
    for fmt in ("jpg", "png"):
        for where in ("embed", "convert", "strip"):
            for name in ("srgb.tif", "srgb.jpg", "srgb-tiles.tif", "broken.tif", "broken.jpg", "damaged.tif", "damaged.jpg"):
                for path in ("full/max", "0,0,128,128/128,128"):
                    r = ask(s, "%s/%s/%s/0/default.%s" % (where, name, path, fmt))
                    assert icc_of(r) is None, (where, name)
                    if path == "full/max" and fmt == "png" and name.endswith(".tif") and "tiles" not in name:
                        near(r.pixels(), stored(data, name), 0, 0)
        assert icc_of(ask(s, "embed/adobe.tif/full/max/0/gray." + fmt)) is None
        assert icc_of(ask(s, "strip/adobe.tif/full/max/0/default." + fmt)) is None
    near(ask(s, "strip/adobe.tif/full/max/0/default.png").pixels(), stored(data, "adobe.tif"), 0, 0)


@pytest.mark.parametrize("name,space", [("adobe.tif", "adobe"), ("wide.tif", "wide"), ("adobe16.tif", "adobe"), ("wide16.tif", "wide")])
def test_converted(serve, data, name, space):
    s = serve(CONF)
    px = stored(data, name)
    r = ask(s, "convert/%s/full/max/0/default.png" % name)
    assert icc_of(r) is None
    same_colours(three(r.pixels(), 255), in_srgb(three(px, np.iinfo(px.dtype).max), space))


def test_large_profile_is_converted(serve, data):
    """Above IIPMaxICC, whatever the tile; a .htaccess lower limit does the same."""
    s = serve(CONF)
    want = in_srgb(three(stored(data, "large.tif"), 255), "adobe")
    r = ask(s, "embed/large.tif/full/max/0/default.png")
    assert icc_of(r) is None
    same_colours(three(r.pixels(), 255), want)
    r = ask(s, "small/adobe.tif/full/max/0/default.png")
    assert icc_of(r) is None
    same_colours(three(r.pixels(), 255), want)


def test_grey_profile(serve, data):
    s = serve(CONF)
    assert icc_of(ask(s, "embed/grey18.tif/full/max/0/default.jpg")) == profile(data, "grey")
    assert icc_of(ask(s, "embed/grey18.jpg/full/max/0/gray.jpg")) == profile(data, "grey"), "gray of grey is itself"
    for name, top in (("grey18.tif", 255), ("grey18-16.tif", 65535)):
        r = ask(s, "convert/%s/full/max/0/default.png" % name)
        assert r.image().mode == "L" and icc_of(r) is None
        same_colours(three(r.pixels(), 255), gray_in_srgb(stored(data, name) / top))


def test_gray_is_of_the_values_as_they_lie(serve, data):
    """R27, iip.md 9: an operation that makes a new colour space skips the conversion."""
    s = serve(CONF)
    a = ask(s, "convert/adobe.tif/full/max/0/gray.png").pixels()
    near(a, np.floor(stored(data, "adobe.tif") @ np.array([.299, .587, .114])), 1, 1)


def test_inks(serve, data, folder):
    """Always converted: by the profile as tificc does it (no precalculation, relative colorimetric, black to black), else the plain way."""
    s = serve(CONF)

    def by_tificc(name):
        subprocess.run(["tificc", "-w16", "-i", data + "/colour/inks.icc", "-t1", "-b", "-c0", "%s/colour/%s" % (data, name), folder + "/" + name],
                       check=True, capture_output=True)
        return three(tifffile.imread(folder + "/" + name), 65535)

    want, got = by_tificc("inks.tif"), {}
    for where in ("embed", "convert", "strip"):
        r = ask(s, where + "/inks.tif/full/max/0/default.png")
        assert icc_of(r) is None and r.image().mode == "RGB"
        same_colours(three(r.pixels(), 255), want)
        got[where] = r.body
    assert got["embed"] == got["convert"] == got["strip"]
    same_colours(three(ask(s, "embed/inks16.tif/full/max/0/default.png").pixels(), 255), by_tificc("inks16.tif"))
    d = delta_e(three(ask(s, "embed/inks.jpg/full/max/0/default.png").pixels(), 255), want)
    assert d.mean() < 2, "lossy: %.2f" % d.mean()
    px = stored(data, "inks-plain.tif").astype(float)
    near(ask(s, "embed/inks-plain.tif/full/max/0/default.png").pixels(), (255 - px[..., :3]) * (255 - px[..., 3:]) / 255, 0.5, 1)


def test_floats_are_converted(serve, data):
    """Linear light with its profile: embedding it would leave 8 bits too few."""
    s = serve(CONF)
    want = encoded(stored(data, "linear.tif").astype(float))
    for where in ("embed", "convert", "strip"):
        r = ask(s, where + "/linear.tif/full/max/0/default.png")
        assert icc_of(r) is None
        same_colours(three(r.pixels(), 255), want)


@pytest.mark.parametrize("where", ["embed", "convert", "strip"])
def test_tiles_are_all_alike(serve, data, where):
    """Each tile, stored whole or cut at the edge, is treated as the picture is: put together they are the picture."""
    s = serve(CONF)
    for name, w, h in (("adobe-tiles.tif", 301, 219), ("adobe.tif", 301, 219), ("large.tif", 301, 219)):
        full = ask(s, "%s/%s/full/max/0/default.png" % (where, name))
        for x in range(0, w, 128):
            for y in range(0, h, 128):
                tw, th = min(128, w - x), min(128, h - y)
                path = "%s/%s/%d,%d,%d,%d/max/0/default." % (where, name, x, y, tw, th)
                tile = ask(s, path + "png")
                near(tile.pixels(), full.pixels()[y:y + th, x:x + tw], 0, 0)
                assert icc_of(tile) == icc_of(full) == icc_of(ask(s, path + "jpg"))


def test_pass_through(serve, data):
    """A stored JPEG tile goes out as it lies with the profile put in; where colours are converted it cannot."""
    s = serve(CONF)
    with tifffile.TiffFile(data + "/colour/adobe-tiles.tif") as t:
        page = t.pages[0]
        raw = open(data + "/colour/adobe-tiles.tif", "rb").read()[page.dataoffsets[0]:page.dataoffsets[0] + page.databytecounts[0]]
    body = ask(s, "embed/adobe-tiles.tif/0,0,128,128/128,128/0/default.jpg").body
    assert raw[-500:] in body and profile(data, "adobe") in body, "as it lies, with the profile"
    plain = ask(s, "strip/adobe-tiles.tif/0,0,128,128/128,128/0/default.jpg").body
    assert raw[-500:] in plain and b"ICC_PROFILE" not in plain
    r = ask(s, "convert/adobe-tiles.tif/0,0,128,128/128,128/0/default.jpg")
    assert raw[-500:] not in r.body
    want = in_srgb(three(ask(s, "strip/adobe-tiles.tif/0,0,128,128/max/0/default.png").pixels(), 255), "adobe")
    assert delta_e(three(r.pixels(), 255), want).mean() < 2


def test_settings_are_in_the_etag(serve):
    s = serve(CONF)
    tags = [ask(s, where + "/adobe16.tif/full/max/0/default.png")["ETag"] for where in ("embed", "convert", "strip", "deep", "owned", "small")]
    assert len(set(tags)) == len(tags)


# ---- depth


def tiff_of(r):
    """Samples, uncompressed by libtiff's tiffcp (tifffile alone lacks some predictors), and {tag: value}."""
    with tempfile.TemporaryDirectory() as d:
        with open(d + "/a.tif", "wb") as f:
            f.write(r.body)
        subprocess.run(["tiffcp", "-c", "none", d + "/a.tif", d + "/b.tif"], check=True)
        with tifffile.TiffFile(d + "/a.tif") as t:
            return tifffile.imread(d + "/b.tif"), {x.code: x.value for x in t.pages[0].tags}


def png16(r, folder):
    """PIL reads 16-bit colour as 8: vips does not."""
    with open(folder + "/a.png", "wb") as f:
        f.write(r.body)
    subprocess.run(["vips", "copy", folder + "/a.png", folder + "/a.tif"], check=True, env=dict(os.environ, VIPS_WARNING="0"))
    return tifffile.imread(folder + "/a.tif")


@pytest.mark.any_mpm
@pytest.mark.parametrize("name", ["u16.tif", "u32.tif", "f32.tif", "grey16.tif", "adobe16.tif", "adobe16-alpha.tif"])
def test_depth_is_kept(serve, data, folder, name):
    """R30: bit-exact in TIFF; in PNG what has 16 bits, the top 16 of 32, floats over their range."""
    s = serve(CONF)
    px = stored(data, name)
    got, tags = tiff_of(ask(s, "deep/%s/full/max/0/default.tif" % name))
    assert got.dtype == px.dtype and np.array_equal(got, px)
    part, _ = tiff_of(ask(s, "deep/%s/31,17,200,100/max/!90/default.tif" % name))
    assert np.array_equal(part, np.rot90(px[17:117, 31:231][:, ::-1], -1))
    if "adobe" in name:
        assert tags[34675] == profile(data, "adobe")
    a = png16(ask(s, "deep/%s/full/max/0/default.png" % name), folder)
    want = px if px.dtype == np.uint16 else px >> 16 if px.dtype == np.uint32 else np.floor(px.astype(float) * 65535)
    assert a.dtype == np.uint16
    near(a, want, 0 if px.dtype != np.float32 else 0.01, 0 if px.dtype != np.float32 else 1)
    for fmt in ("jpg", "png", "tif"):
        r = ask(s, "embed/%s/full/max/0/default.%s" % (name, fmt))
        a = tiff_of(r)[0] if fmt == "tif" else r.pixels()
        assert a.dtype == np.uint8, "Off by default"
    assert ask(s, "deep/%s/full/max/0/default.jpg" % name).pixels().dtype == np.uint8


def test_deep_scaling(serve, data):
    """Scaled, turned and made grey at full depth: no step of 8 bits in it."""
    s = serve(CONF)
    px = stored(data, "u16.tif")
    got, _ = tiff_of(ask(s, "deep/u16.tif/0,0,300,200/100,100/0/default.tif"))
    near(got, shrink(px[:200, :300], 100, 100), 300, 6000)
    flat, _ = tiff_of(ask(s, "deep/u16.tif/110,60,30,30/10,10/0/default.tif"))
    near(flat, shrink(px[60:90, 110:140], 10, 10), 1, 2)
    got, _ = tiff_of(ask(s, "deep/u16.tif/full/max/0/gray.tif"))
    assert got.dtype == np.uint16
    near(got, px @ np.array([.299, .587, .114]), 1, 2)
    got, _ = tiff_of(ask(s, "deep/f32.tif/110,60,30,30/10,10/0/default.tif"))
    assert got.dtype == np.float32
    near(got, shrink(stored(data, "f32.tif")[60:90, 110:140], 10, 10), 1e-4, 1e-3)
    got, _ = tiff_of(ask(s, "deep/u16.tif/full/max/22.5/default.tif"))
    assert got.dtype == np.uint16 and got.shape[2] == 4 and got[0, 0, 3] == 0
    assert len(np.unique(got[..., 0])) > 5000
    got, tags = tiff_of(ask(s, "deep/u16.tif/full/max/0/bitonal.tif"))
    assert tags[258] == 1


def test_deep_conversion(serve, data):
    s = serve(CONF)
    for name, space in (("adobe16.tif", "adobe"), ("wide16.tif", "wide")):
        got, tags = tiff_of(ask(s, "deepconvert/%s/full/max/0/default.tif" % name))
        assert got.dtype == np.uint16 and 34675 not in tags
        same_colours(three(got, 65535), in_srgb(three(stored(data, name), 65535), space), 0.1)
    got, _ = tiff_of(ask(s, "deepconvert/adobe16-alpha.tif/full/max/0/default.tif"))
    px = stored(data, "adobe16-alpha.tif")
    assert np.array_equal(got[..., 3], px[..., 3])
    same_colours(three(got[..., :3], 65535), in_srgb(three(px[..., :3], 65535), "adobe"), 0.1)
    got, _ = tiff_of(ask(s, "deepconvert/grey18-16.tif/full/max/0/default.tif"))
    same_colours(three(got, 65535), gray_in_srgb(stored(data, "grey18-16.tif") / 65535), 0.1)
    got, tags = tiff_of(ask(s, "deep/linear.tif/full/max/0/default.tif"))
    assert np.array_equal(got, stored(data, "linear.tif")) and tags[34675] == profile(data, "linear"), "floats stay what they are"
    got, _ = tiff_of(ask(s, "deepconvert/linear.tif/full/max/0/default.tif"))
    assert got.dtype == np.uint16
    same_colours(three(got, 65535), encoded(stored(data, "linear.tif").astype(float)), 0.1)


# ---- texts


MAKE, ORIENTATION, ARTIST, COPYRIGHT, EXIF, GPS = 0x010F, 0x0112, 0x013B, 0x8298, 0x8769, 0x8825


@pytest.mark.parametrize("fmt", ["jpg", "png", "webp"])
def test_exif(serve, data, fmt):
    """Texts, shot and place of the source go with whole pictures, at any size; orientation, thumbnail and the maker's note do not."""
    s = serve(CONF)
    for path in ("full/max/0", "full/100,/0", "full/max/90"):
        r = ask(s, "embed/texts.jpg/%s/default.%s" % (path, fmt))
        e = r.image().getexif()
        assert (e[MAKE], e[ARTIST], e[COPYRIGHT]) == ("a maker", "an artist", "the owner")
        assert e.get(ORIENTATION, 1) == 1 and b"THUMBNAIL" not in r.body and b"own note" not in r.body
        assert float(e.get_ifd(EXIF)[0x829A]) == 0.004 and e.get_ifd(GPS)[1] == "N"
        assert (b"tiff:Artist=" in r.body) and b'tiff:Orientation="1"' in r.body and b'tiff:Orientation="6"' not in r.body
    for path in ("0,0,100,100/max/0", "0,0,100,219/max/0", "1,0,218,301/max/0"):
        r = ask(s, "embed/texts.jpg/%s/default.%s" % (path, fmt))
        assert not dict(r.image().getexif()) and b"tiff:" not in r.body, "tiles carry no texts"


def test_exif_in_tiff(serve, data):
    s = serve(CONF)
    for name in ("texts.jpg", "texts.tif"):
        _, tags = tiff_of(ask(s, "embed/%s/full/max/0/default.tif" % name))
        assert (tags[ARTIST], tags[COPYRIGHT]) == ("an artist", "the owner")
        assert tags.get(ORIENTATION, 1) == 1
        assert bytes(tags[700]) == XMP.replace(b'"6"', b'"1"')
    e = ask(s, "embed/texts.tif/full/max/0/default.jpg").image().getexif()
    assert (e[0x010E], e[0x0131], e[ARTIST], e[COPYRIGHT]) == ("what it shows", "a program", "an artist", "the owner")


def test_copyright(serve, data):
    """IIPCopyright goes into whole pictures in place of the source's own."""
    s = serve(CONF)
    notice = '(c) Bibliothèque "X"'
    for name in ("texts.jpg", "texts.tif", "u16.tif", "inks.jpg"):
        for fmt in ("jpg", "png", "webp"):
            r = ask(s, "owned/%s/full/max/0/default.%s" % (name, fmt))
            assert notice.encode() in r.body and b"the owner" not in r.body
            assert r.image().getexif()[COPYRIGHT].encode("latin-1", "replace") == notice.encode("utf-8") or r.image().getexif()[COPYRIGHT] == notice
        assert ask(s, "owned/%s/full/max/0/default.png" % name).image().text["Copyright"] == notice
        _, tags = tiff_of(ask(s, "owned/%s/full/max/0/default.tif" % name))
        assert tags[COPYRIGHT] in (notice, notice.encode("utf-8").decode("latin-1"))
    assert notice.encode() not in ask(s, "owned/texts.tif/0,0,128,128/max/0/default.jpg").body


def test_resolution(serve, data):
    """Dots an inch of the source, scaled as the picture is and turned with it."""
    s = serve(CONF)
    for path, x, y in (("full/max/0", 1, 1), ("full/50,/0", 50 / 219, 69 / 301), ("full/100,50/0", 100 / 219, 50 / 301), ("full/100,50/90", 50 / 301, 100 / 219)):
        for fmt, slack in (("jpg", 0.51), ("png", 0.02), ("tif", 0.02)):
            dpi = ask(s, "embed/texts.jpg/%s/default.%s" % (path, fmt)).image().info["dpi"]
            assert abs(float(dpi[0]) - 300 * x) <= slack and abs(float(dpi[1]) - 300 * y) <= slack, (path, fmt, dpi)


def test_physical_scale(serve, data):
    """R40: announced from the source's resolution, but not 72 dots an inch, nor what vips writes for unknown."""
    s = serve(CONF)
    for name in ("dpi300.tif", "texts.jpg"):
        d = ask(s, "embed/%s/info.json" % name).json()
        (service,) = d["service"]
        assert list(d)[-1] == "service" and service["@id"] and service["@type"]
        assert service["profile"] == "http://iiif.io/api/annex/services/physdim"
        assert service["physicalUnits"] == "cm" and abs(service["physicalScale"] - 2.54 / 300) < 1e-6
    for name in ("dpi72.tif", "dpi25.4.tif", "u16.tif"):
        assert "service" not in ask(s, "embed/%s/info.json" % name).json()


def test_difference_of_colours():
    """The yardstick itself, at pairs of its paper."""
    a = np.array([[0.5, 0.5, 0.5]])
    assert delta_e(a, a)[0] == 0
    assert 0.3 < delta_e(a, a + 1 / 255)[0] < 0.5
    assert difference(np.array([1.0]), np.array([2.0])) == (1, 1)
