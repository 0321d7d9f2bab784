# SPDX-License-Identifier: Apache-2.0
"""A decoder of another module: tests/provider/mod_iip_openslide.c, built by apxs from what `make install` installs, in a
real httpd. Its slides are compared with the pixels they were made of. Skipped where OpenSlide is not installed."""
import os
import shutil
import subprocess
import time

import numpy as np
import pytest

import httpd
import make_slide
from common import location, near

FLAGS = [subprocess.run(["pkg-config", kind, "openslide"], capture_output=True, text=True) for kind in ("--cflags", "--libs")]
pytestmark = pytest.mark.skipif(FLAGS[0].returncode != 0, reason="OpenSlide is not installed")
BUILD = os.environ.get("IIP_BUILD", "build")
SITE = location("/i", "{slides}", "IIPMaxArea 0")


def apxs(folder, include):
    """The module built in a folder of its own; the only header of ours is in `include`."""
    os.makedirs(folder)
    shutil.copy(httpd.TOP + "/tests/provider/mod_iip_openslide.c", folder)
    strict = ["-Wc,-Wall", "-Wc,-Wextra", "-Wc,-Wno-unused-parameter", "-Wc,-Werror"]
    p = subprocess.run(["apxs", "-c"] + strict + FLAGS[0].stdout.split() + ["-I" + include, "mod_iip_openslide.c"] + FLAGS[1].stdout.split(),
                       cwd=folder, capture_output=True, text=True)
    assert p.returncode == 0, p.stdout + p.stderr
    return folder + "/.libs/mod_iip_openslide.so"


@pytest.fixture(scope="module")
def place(work):
    d = work + "/provider-%d" % os.getpid()
    shutil.rmtree(d, ignore_errors=True)
    os.makedirs(d)
    yield d
    shutil.rmtree(d)


@pytest.fixture(scope="module")
def include(place):
    p = subprocess.run(["make", "-s", "BUILD=" + BUILD, "install", "DESTDIR=" + place + "/root"], cwd=httpd.TOP, capture_output=True, text=True)
    assert p.returncode == 0, p.stdout + p.stderr
    where = subprocess.run(["apxs", "-q", "INCLUDEDIR"], capture_output=True, text=True).stdout.strip()
    assert os.listdir(place + "/root" + where) == ["mod_iip.h"]
    return place + "/root" + where


@pytest.fixture(scope="module")
def module(place, include):
    return apxs(place + "/good", include)


@pytest.fixture(scope="module")
def slides(place):
    made = make_slide.make(place + "/slides")
    subprocess.run(["chmod", "-R", "a+rX", place], check=True)
    return place + "/slides", made


@pytest.fixture
def with_slides(serve, module, slides):
    return lambda conf=SITE, **opt: serve("LoadModule iip_openslide_module %s\n" % module + conf.replace("{slides}", slides[0]), **opt)


@pytest.mark.any_mpm
@pytest.mark.parametrize("name", ["aperio.svs", "mirax.mrxs"])
def test_pixels_of_each_level(with_slides, slides, name):
    """Whole levels, single tiles and a region across them; exact, for the files are lossless."""
    s = with_slides()
    levels = slides[1][name.split(".")[0]]
    h, w = levels[0].shape[:2]
    info = s.get("/i/%s/info.json" % name).json()
    assert (info["width"], info["height"]) == (w, h)
    assert [(x["width"], x["height"]) for x in info["sizes"]] == [px.shape[1::-1] for px in reversed(levels)]
    for px in levels:
        near(s.get("/i/%s/full/%d,%d/0/default.png" % ((name,) + px.shape[1::-1])).pixels("RGB"), px, 0, 0)
    tile = info["tiles"][0]
    for scale in tile["scaleFactors"][:len(levels)]:
        px, side = levels[scale.bit_length() - 1], tile["width"]
        for x, y in ((0, 0), (1, 1)):
            x, y = x * side, y * side
            want = px[y:y + side, x:x + side]
            if not want.size:
                continue
            box = (x * scale, y * scale, min(side * scale, w - x * scale), min(side * scale, h - y * scale))
            got = s.get("/i/%s/%d,%d,%d,%d/%d,%d/0/default.png" % ((name,) + box + want.shape[1::-1]))
            near(got.pixels("RGB"), want, 0, 0)
    near(s.get("/i/%s/57,33,150,120/max/0/default.png" % name).pixels("RGB"), levels[0][33:153, 57:207], 0, 0)


def test_background_and_scale(with_slides, slides):
    """The slide's own background shows where nothing was scanned; micrometres a pixel are the resolution."""
    s = with_slides()
    assert (s.get("/i/mirax.mrxs/64,0,64,64/max/0/default.png").pixels("RGB") == (30, 60, 90)).all()
    dpi = s.get("/i/aperio.svs/0,0,100,100/max/0/default.png").image().info["dpi"]
    assert all(abs(d - 25400 / make_slide.MPP) < 5 for d in dpi)


@pytest.mark.log(r"IIP0109: corrupt: torn.svs")
def test_what_is_no_slide_goes_on(with_slides, slides, data):
    """TIFF and JPEG that OpenSlide refuses keep their own decoders, statuses and media types."""
    s = with_slides(SITE + location("/d", "{data}", "IIIFBare file"))
    plain = s.get("/d/photo_deflate.tif/0,0,256,256/max/0/default.png").pixels("RGB")
    assert plain.shape == (256, 256, 3)
    assert s.get("/d/photo.jpg/full/100,/0/default.jpg").status == 200
    assert s.get("/d/photo.jpg")["Content-Type"] == "image/jpeg" and s.get("/d/photo.tif")["Content-Type"] == "image/tiff"
    shutil.copy(data + "/photo.jpg", slides[0] + "/lonely.mrxs")  # no folder beside it
    assert s.get("/i/lonely.mrxs/full/100,/0/default.jpg").status == 200
    with open(slides[0] + "/torn.svs", "wb") as f, open(slides[0] + "/aperio.svs", "rb") as g:
        f.write(g.read(3000))
    assert s.get("/i/torn.svs/info.json").status in (415, 500)


def test_load_order_and_restart(serve, module, slides):
    """Either module may come first; a restart reads both anew."""
    other = "LoadModule iip_openslide_module %s\n" % module
    own = "LoadModule iip_module %s\n" % os.path.join(httpd.TOP, BUILD, "mod_iip.so")
    for lines in (own + other, other + own):
        s = serve(lines + SITE.replace("{slides}", slides[0]), module=False, fresh=True)
        assert s.get("/i/mirax.mrxs/info.json").json()["width"] == 256
        s.graceful()
        until = time.time() + 20
        while "resuming normal operations" not in s.logtext().split("Graceful restart", 1)[-1] and time.time() < until:
            time.sleep(0.1)
        for _ in range(5):
            assert s.get("/i/mirax.mrxs/info.json").json()["width"] == 256


@pytest.mark.parametrize("abi", [1, 99])
@pytest.mark.log(r"IIP0005: decoder openslide of another module is left out: made for ABI (1|99) of mod_iip, this is \d+,")
def test_made_for_another_abi(serve, place, include, slides, abi):
    old = place + "/old-%d" % abi
    os.makedirs(old)
    with open(include + "/mod_iip.h") as f, open(old + "/mod_iip.h", "w") as g:
        text = f.read()
        assert text.count("#define IIP_CODEC_ABI ") == 1
        g.write(text.replace("#define IIP_CODEC_ABI ", "#define IIP_CODEC_ABI %d //" % abi))
    so = apxs(place + "/bad-%d" % abi, old)
    s = serve("LoadModule iip_openslide_module %s\n" % so + SITE.replace("{slides}", slides[0]), fresh=True)
    assert s.logtext().count("IIP0005") == 1
    assert s.get("/i/mirax.mrxs/info.json").json()["width"] == 20, "the index alone: a JPEG"
    levels = slides[1]["aperio"]
    assert np.array_equal(s.get("/i/aperio.svs/full/max/0/default.png").pixels("RGB"), levels[0]), "TIFF by mod_iip"
