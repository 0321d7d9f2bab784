# SPDX-License-Identifier: Apache-2.0
"""What formats say of a picture besides its pixels, read by exiftool: colour profile, XMP, EXIF, resolution, copyright; in every
format that has a place for it (issue 3, R31)."""
import json
import re
import subprocess

import numpy as np
import pytest
from PIL import Image

import make_colour
from common import location

NOTICE = "\u00a9 Ren\u00e9e & S\u00f8n, 1999"
#        profile, XMP, EXIF, resolution, copyright notice of its own
PLACES = {"jpg": "pxerc", "png": "pxerc", "webp": "pxec", "tif": "pxerc", "avif": "pxec", "jp2": "pxerc", "gif": "xc", "pdf": "pxrc"}
WITH_RESOLUTION = ("jpg", "png", "tif", "webp", "avif", "jp2")


@pytest.fixture
def source(folder):
    """A camera's JPEG with everything; EXIF and XMP say that it lies on its side."""
    y, x = np.mgrid[0:120, 0:180]
    px = np.stack([x, y * 2, 255 - x], -1).astype(np.uint8)
    path = folder + "/all.jpg"
    icc = make_colour.rgb_profile("adobe")
    Image.fromarray(px).save(path, quality=95, dpi=(300, 300), icc_profile=icc)
    with open(path, "rb") as f:
        plain = f.read()
    with open(path, "wb") as f:
        f.write(plain[:2] + make_colour.segment(b"Exif\0\0" + make_colour.exif())
                + make_colour.segment(b"http://ns.adobe.com/xap/1.0/\0" + make_colour.XMP) + plain[2:])
    return icc


def exiftool(path, *args):
    r = subprocess.run(["exiftool", *args, path], capture_output=True)
    assert r.returncode == 0, r.stderr
    return r.stdout


def tags(path):
    """{tag: {value, ...}} over all groups."""
    out = {}
    for name, v in json.loads(exiftool(path, "-j", "-n", "-a", "-u", "-G1", "-charset", "utf8"))[0].items():
        group, _, tag = name.rpartition(":")
        if group not in ("System", "ExifTool"):
            out.setdefault(tag, set()).add(str(v))
    return out


def dots(t):
    """Dots an inch by whatever tags the format has."""
    for tag, by in (("XResolution", 1), ("PixelsPerUnitX", 0.0254), ("CaptureXResolution", 0.0254)):
        for v in t.get(tag, ()):
            v = float(v) * by
            yield from (v, v * 2.54)  # the unit is a tag of its own


@pytest.mark.parametrize("form", PLACES)
def test_what_goes_along(serve, folder, source, form):
    s = serve(location("/m", folder, 'IIPCopyright "%s"' % NOTICE), fresh=True)
    r = s.get("/m/all.jpg/full/max/0/default." + form)
    if r.status == 400:
        pytest.skip("built without " + form)
    path = folder + "/answer." + form
    with open(path, "wb") as f:
        f.write(r.body)
    t, has = tags(path), PLACES[form]
    assert not t.get("Error") and not t.get("Warning"), t
    assert t.get("Orientation", {"1"}) <= {"1"}, "pixels are upright"
    if "p" in has and form == "pdf":
        said = subprocess.run(["pdfimages", "-list", path], capture_output=True, text=True, check=True).stdout
        assert re.search(r"\bicc\b", said), said
    elif "p" in has:
        assert exiftool(path, "-b", "-ICC_Profile") == source
    else:
        assert "ProfileCMMType" not in t
    if "x" in has:
        xmp = exiftool(path, "-b", "-XMP")
        assert b'tiff:Artist="she"' in xmp and b'tiff:Orientation="1"' in xmp
    if "e" in has:
        assert "an artist" in t["Artist"] and t["ExposureTime"] == {"0.004"} and "GPSLatitude" in t
        assert "MakerNote" not in t and "ThumbnailImage" not in t and "ThumbnailOffset" not in t
    if "r" in has and form in WITH_RESOLUTION:
        assert any(abs(d - 300) < 0.5 for d in dots(t)), t
    if form == "pdf":
        said = subprocess.run(["pdfinfo", path], capture_output=True, text=True, check=True).stdout
        w, h = map(float, re.search(r"Page size: +([0-9.]+) x ([0-9.]+)", said).groups())
        # EXIF turned it: 120 x 180 at 300 dots an inch, 72 units each
        assert abs(w - 120 / 300 * 72) < 0.02 and abs(h - 180 / 300 * 72) < 0.02
    said = set().union(*(v for k, v in t.items() if k in ("Copyright", "Comment")))
    assert NOTICE in said, said
    assert "the owner" not in said
