# SPDX-License-Identifier: Apache-2.0
"""`iip check` over good and bad files of every kind: its verdicts, and that each command it prints makes a file that it calls
good, with the same picture in it. No httpd."""
import json
import os
import subprocess

import numpy as np
import pytest
import tifffile
from PIL import Image

import httpd

TOOL = os.path.join(httpd.TOP, os.environ.get("IIP_BUILD", "build"), "iip")
W, H = 2560, 1800  # more than is decoded for one view
y, x = np.mgrid[0:H, 0:W]
PIXELS = np.stack([np.abs(v % 510 - 255) for v in (x // 2 + y // 5, x * y // 2000, np.hypot(x - 900, y - 700))], -1).astype(np.uint8)


def run(*command, cwd):
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=dict(os.environ, VIPS_WARNING="0"))


def check(cwd, *paths):
    """{file: what --json says}"""
    p = run(TOOL, "check", "--json", "--", *paths, cwd=cwd)
    said = {row["file"]: row for row in json.loads(p.stdout)}
    assert not p.stderr and p.returncode == any(row["verdict"] != "good" for row in said.values()), p
    return said


def flat(px=PIXELS, **kw):
    def make(path):
        kw.setdefault("photometric", "rgb" if px.ndim == 3 else "minisblack")
        kw.setdefault("rowsperstrip", 16) if "tile" not in kw else None
        tifffile.imwrite(path, px, metadata=None, **kw)

    return make


def vips(*words):
    def make(path):
        Image.fromarray(PIXELS).save(path + ".ppm")
        p = run("vips", "tiffsave", path + ".ppm", path, "--tile", *words, cwd=os.path.dirname(path))
        assert p.returncode == 0, p.stderr
        os.unlink(path + ".ppm")

    return make


def pil(px=PIXELS, **kw):
    def make(path):
        Image.fromarray(px).save(path, **kw)

    return make


def jp2(*words):
    def make(path):
        Image.fromarray(PIXELS).save(path + ".ppm")
        p = run("opj_compress", "-i", path + ".ppm", "-o", path, "-r", "20", *words, cwd=os.path.dirname(path))
        assert p.returncode == 0, p.stdout + p.stderr
        os.unlink(path + ".ppm")

    return make


def damaged(path):
    """A quarter of the stored bytes is not what it was."""
    vips("--pyramid", "--compression", "deflate", "--tile-width", "256", "--tile-height", "256")(path)
    with open(path, "r+b") as f:
        n = os.path.getsize(path)
        f.seek(n // 4)
        f.write(b"\x5a" * (n // 4))


def truncated(path):
    pil(quality=90)(path)
    os.truncate(path, os.path.getsize(path) // 2)


def orientation(n):
    exif = Image.Exif()
    exif[274] = n
    return exif


WIDE = PIXELS.astype(np.uint16) * 257
PYRAMID = ("--pyramid", "--tile-width", "256", "--tile-height", "256", "--compression")
# name: (how it is made, verdict, what the reason speaks of)
FILES = {
    # good
    "pyramid_jpeg.tif": (vips(*PYRAMID, "jpeg"), "good", None),
    "pyramid_none.tif": (vips(*PYRAMID, "none"), "good", None),
    "pyramid_webp_512.tif": (vips("--pyramid", "--tile-width", "512", "--tile-height", "512", "--compression", "webp"), "good", None),
    "pyramid_320.tif": (vips("--pyramid", "--tile-width", "320", "--tile-height", "320", "--compression", "deflate"), "good", None),
    "small.png": (pil(PIXELS[:300, :500]), "good", None),
    "small.jpg": (pil(PIXELS[:1500, :2000], progressive=True), "good", None),
    "small_strips.tif": (flat(PIXELS[:600, :800]), "good", None),
    # slow
    "strips.tif": (flat(), "slow", "without tiles"),
    "one_strip.tif": (flat(compression="zlib", rowsperstrip=H), "slow", "without tiles"),
    "planar.tif": (flat(np.moveaxis(PIXELS, 2, 0).copy(), planarconfig="separate", photometric="rgb"), "slow", "without tiles"),
    "deep.tif": (flat(WIDE), "slow", "without tiles"),
    "real.tif": (flat(WIDE[..., 0].astype(np.float32) / 65535), "slow", "without tiles"),
    "alpha.tif": (flat(np.dstack([PIXELS, 255 - PIXELS[..., 0]]), extrasamples=["unassalpha"]), "slow", "without tiles"),
    "two_levels.tif": (flat(PIXELS[..., 0] > 128), "slow", "without tiles"),
    "inks.tif": (flat(np.dstack([PIXELS, PIXELS[..., 0] // 2]), photometric="separated"), "slow", "without tiles"),
    "no_pyramid.tif": (flat(tile=(256, 256)), "slow", "no level below"),
    "tiny_tiles.tif": (vips("--pyramid", "--tile-width", "64", "--tile-height", "64", "--compression", "jpeg"), "slow", "tiles of 64 x 64"),
    "tiles_240.tif": (vips("--pyramid", "--tile-width", "240", "--tile-height", "240", "--compression", "jpeg"), "slow", "tiles of 240 x 240"),
    "large.jpg": (pil(quality=85), "slow", "without tiles"),
    "progressive.jpg": (pil(quality=85, progressive=True), "slow", "without tiles"),
    "turned.jpg": (pil(quality=85, exif=orientation(6)), "slow", "without tiles"),
    "large.png": (pil(), "slow", "without tiles"),
    "large.webp": (pil(method=0), "slow", "without tiles"),
    "-a name's [odd] $(x).jpg": (pil(quality=85), "slow", "without tiles"),
    # refused
    "too_much.tif": (flat(np.zeros((10000, 11000), np.uint8), compression="zlib", rowsperstrip=64), "refused", "no smaller level"),
    "damaged.tif": (damaged, "refused", ""),
    "truncated.jpg": (truncated, "refused", ""),
    "empty.tif": (lambda path: open(path, "w").close(), "refused", "no decoder"),
}
if subprocess.run(["sh", "-c", "command -v opj_compress"], capture_output=True).returncode == 0:
    FILES.update({
        "untiled.jp2": (jp2(), "slow", "and precincts"),
        "precincts.jp2": (jp2("-p", "RPCL", "-c", "[256,256],[256,256],[256,256],[256,256],[256,256],[256,256]"), "good", None),
        "tiled.jp2": (jp2("-t", "512,512"), "good", None),
        "tiny_tiles.jp2": (jp2("-t", "128,128"), "slow", "tiles of 128 x 128"),
    })


@pytest.fixture(scope="module")
def made(work):
    d = os.path.join(work, "check-%d" % os.getpid())
    subprocess.run(["rm", "-rf", d])
    os.makedirs(d)
    for name, (make, _, _) in FILES.items():
        make(os.path.join(d, name))
    yield d
    subprocess.run(["rm", "-rf", d])


@pytest.fixture(scope="module")
def said(made):
    return check(made, *FILES)


@pytest.mark.parametrize("name", FILES)
def test_verdict(said, name):
    _, verdict, reason = FILES[name]
    row = said[name]
    assert row["verdict"] == verdict, row
    assert (reason in row["reason"]) if verdict != "good" else "reason" not in row
    fixable = verdict == "slow" or name == "too_much.tif"
    assert ("command" in row) == fixable, row
    if verdict != "refused":
        assert row["milliseconds"] > 0 and len(row["levels"]) >= row["storedLevels"] >= 1
        assert all(cell["milliseconds"] >= 0 for cell in row["levels"])


@pytest.mark.parametrize("name", [n for n in FILES if FILES[n][1] == "slow" or n == "too_much.tif"])
def test_command_makes_it_good(made, said, name):
    """The command is run by sh as it was printed; what comes out is good, lies beside the file and shows the same."""
    p = run("sh", "-c", said[name]["command"], cwd=made)
    assert p.returncode == 0 and not p.stderr, p
    out = os.path.splitext(name)[0] + "-iip.tif"
    if not os.path.exists(os.path.join(made, out)):
        out = name + "-iip.tif"  # another command writes to that name
    row = check(made, out)[out]
    assert row["verdict"] == "good", row
    old = said[name]
    assert (row["width"], row["height"], row["colour"]) == (old["width"], old["height"], old["colour"])
    assert row["bits"] == max(8, old["bits"])
    views = [os.path.join(made, f) for f in ("a.png", "b.png")]
    for i, f in enumerate((name, out)):
        q = subprocess.run([TOOL, "-r", made, "-o", views[i]], input="/%s/full/!400,400/0/default.png\n" % (f.replace("%", "%25").replace(
            " ", "%20").replace("'", "%27").replace("[", "%5B").replace("]", "%5D")), capture_output=True, text=True)
        if name == "too_much.tif" and i == 0:
            assert q.returncode, "that was the reason"
            return
        assert q.returncode == 0, q
    a, b = (np.asarray(Image.open(v)).astype(float) for v in views)
    assert a.shape == b.shape and np.abs(a - b).mean() < 4, "the same picture, but for JPEG and another way of shrinking"


def test_printed_lines(made):
    """A line for each picture of a folder, other files left out; the end of a line is a command for sh."""
    d = os.path.join(made, "sub", "deeper")
    os.makedirs(d)
    pil(PIXELS[:100, :100])(d + "/b.png")
    pil(quality=50)(d + "/c.jpg")
    flat(PIXELS)(d + "/c.tif")
    with open(d + "/readme.txt", "w") as f:
        f.write("no picture\n")
    pil(PIXELS[:100, :100])(d + "/.hidden.png")
    os.symlink("..", d + "/loop")
    p = run(TOOL, "check", "sub", cwd=made)
    lines = p.stdout.splitlines()
    assert p.returncode == 1 and len(lines) == 3, p
    assert lines[0].startswith("sub/deeper/b.png: png, 100x100, 1 level, no tiles, 8 bit rgb, ") and lines[0].endswith(" ms, good")
    commands = [line.split("; run: ")[1] for line in lines[1:]]
    outputs = [c.split()[3] for c in commands]
    assert outputs == ["sub/deeper/c-iip.tif", "sub/deeper/c.tif-iip.tif"], "no two commands write to one file"
    for c in commands:
        assert run("sh", "-c", c, cwd=made).returncode == 0
    again = run(TOOL, "check", *outputs, cwd=made)
    assert again.returncode == 0 and again.stdout.count(", good\n") == 2
    assert run(TOOL, "check", "sub/deeper/readme.txt", cwd=made).stdout.startswith("sub/deeper/readme.txt: refused: ")
    assert run(TOOL, "check", "nothing", cwd=made).stdout.startswith("nothing: refused: ")
    assert run(TOOL, "check", "--json", d + "/loop/none", cwd=made).returncode == 1
    for words in ((), ("--json",), ("-x", "sub"), ("--",)):
        assert run(TOOL, "check", *words, cwd=made).returncode == 2
