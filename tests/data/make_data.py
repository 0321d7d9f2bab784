#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Makes every picture of the tests, once: make_data.py [folder, default build/data].

tiff/ and jpeg/ hold what make_tiff.py and make_jpeg.py make (one file per kind of file); the pictures of this script are
those of the http tests: vectors, validator, names, photographs, damaged files. Nothing random but by fixed seeds."""
import fcntl
import hashlib
import os
import shutil
import struct
import subprocess
import sys
import zlib

import numpy as np
from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

PHOTOS = "/usr/share/wallpapers"  # package plasma-workspace-wallpapers


def smooth(w, h):
    """A picture that every good resampler shrinks alike: slow ramps and waves, no edge."""
    x = np.linspace(0, 1, w, dtype=np.float32)[None, :]
    y = np.linspace(0, 1, h, dtype=np.float32)[:, None]
    out = np.empty((h, w, 3), np.uint8)
    out[..., 0] = 20 + 215 * x + 0 * y
    out[..., 1] = 20 + 215 * y + 0 * x
    out[..., 2] = 127.5 + 100 * np.sin(6.283 * (1.5 * x + y))
    return out


def colours():
    """10 x 10 well separated colours of the squares picture; [row][column] = r, g, b."""
    rng = np.random.RandomState(20)
    return rng.randint(0, 8, (10, 10, 3)) * 36


def squares():
    return np.kron(colours().astype(np.uint8), np.ones((100, 100, 1), np.uint8))


def save(px, path, **kw):
    Image.fromarray(px).save(path, **kw)


def vips(src, dst, *options):
    subprocess.run(["vips", "tiffsave", src, dst, *options], check=True, env=dict(os.environ, VIPS_WARNING="0"))


def pyramid(src, dst, compression, tile=256, *options):
    vips(src, dst, "--tile", "--pyramid", "--compression", compression, "--tile-width", str(tile), "--tile-height",
         str(tile), *options)


def ifd(tags, at, big):
    """One directory of a TIFF (little-endian); tags: (tag, type, count, value or offset)."""
    if big:
        body = struct.pack("<Q", len(tags))
        for t, ty, n, v in tags:
            body += struct.pack("<HHQ", t, ty, n) + (struct.pack("<HHHH", v, 0, 0, 0) if ty == 3 and n == 1 else
                                                     struct.pack("<Q", v))
        return body + struct.pack("<Q", 0)
    body = struct.pack("<H", len(tags))
    for t, ty, n, v in tags:
        body += struct.pack("<HHI", t, ty, n) + (struct.pack("<HH", v, 0) if ty == 3 and n == 1 else struct.pack("<I", v))
    return body + struct.pack("<I", 0)


def sparse(path, side=1000000, tile=256):
    """BigTIFF of side x side pixels, gray, deflate; three tiles have data (gray 10, 20, 30), all others length 0."""
    across = -(-side // tile)
    n = across * across
    offsets, counts = 4096, 4096 + 8 * n
    tags = [(256, 4, 1, side), (257, 4, 1, side), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1), (277, 3, 1, 1),
            (322, 3, 1, tile), (323, 3, 1, tile), (324, 16, n, offsets), (325, 16, n, counts)]
    with open(path, "wb") as f:
        f.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16) + ifd(tags, 16, True))
        at = counts + 8 * n
        for gray, i in ((10, 0), (20, across * 2000 + 3000), (30, n - 1)):
            z = zlib.compress(bytes([gray]) * tile * tile)
            f.seek(offsets + 8 * i)
            f.write(struct.pack("<Q", at))
            f.seek(counts + 8 * i)
            f.write(struct.pack("<Q", len(z)))
            f.seek(at)
            f.write(z)
            at += len(z)


def crafted(path, **over):
    """A small stripped TIFF with single tags replaced: width=..., height=..., and so on."""
    w, h = over.get("width", 64), over.get("height", 64)
    px = bytes(range(256)) * 16
    tags = [(256, 4, 1, w), (257, 4, 1, h), (258, 3, 1, over.get("bits", 8)), (259, 3, 1, over.get("compression", 1)),
            (262, 3, 1, over.get("photometric", 1)), (273, 4, 1, over.get("offset", 200)),
            (277, 3, 1, over.get("samples", 1)), (278, 4, 1, over.get("rows", h)), (279, 4, 1, over.get("count", len(px)))]
    body = struct.pack("<2sHI", b"II", 42, 8) + ifd(tags, 8, False)
    if over.get("loop"):
        body = body[:-4] + struct.pack("<I", 8)  # the next directory is this one
    with open(path, "wb") as f:
        f.write(body.ljust(200, b"\0") + px)


def damaged(out):
    """Files that must give an error or pixels, and nothing else."""
    os.makedirs(out)
    small = os.path.join(out, "small.ppm")
    photo = Image.open(PHOTOS + "/FallenLeaf/contents/images/640x480.jpg").convert("RGB").resize((300, 220))
    photo.save(small)
    made = {}
    for comp in ("jpeg", "deflate", "lzw", "none"):
        path = os.path.join(out, "whole_%s.tif" % comp)
        pyramid(small, path, comp, 64)
        made[comp + ".tif"] = path
    for name, kw in (("base", {}), ("prog", {"progressive": True})):
        path = os.path.join(out, "whole_%s.jpg" % name)
        photo.save(path, quality=85, **kw)
        made[name + ".jpg"] = path
    os.unlink(small)
    rng = np.random.RandomState(2)
    for name, path in made.items():
        good = open(path, "rb").read()
        stem, ext = name.split(".")
        for i in range(0, 64):
            with open(os.path.join(out, "cut_%s_%02d.%s" % (stem, i, ext)), "wb") as f:
                f.write(good[: len(good) * i // 64])
        for i in range(40):  # half in the header and directories, half anywhere
            b = bytearray(good)
            for _ in range(1 + rng.randint(6)):
                where = rng.randint(min(len(b), 700)) if i % 2 else rng.randint(len(b))
                if ext == "tif" and i % 4 == 1:
                    where = len(b) - 1 - rng.randint(min(len(b), 900))  # vips writes directories late
                b[where] = rng.randint(256)
            with open(os.path.join(out, "mutant_%s_%02d.%s" % (stem, i, ext)), "wb") as f:
                f.write(b)
    texts = {"empty.tif": b"", "note.tif": b"This is a text, not a picture.\n" * 9, "magic.tif": b"II*\0", "soi.jpg": b"\xff\xd8\xff",
             "zeros.tif": bytes(4096), "ffs.jpg": b"\xff" * 4096}
    for name, b in texts.items():
        open(os.path.join(out, name), "wb").write(b)
    at = lambda n: os.path.join(out, n)  # noqa: E731
    crafted(at("crafted_good.tif"))
    crafted(at("crafted_wide.tif"), width=0xFFFFFFFF)
    crafted(at("crafted_huge.tif"), width=2147483647, height=2147483647)
    crafted(at("crafted_zero.tif"), width=0)
    crafted(at("crafted_zero_high.tif"), height=0)
    crafted(at("crafted_short.tif"), count=10)
    crafted(at("crafted_behind.tif"), offset=0x7FFFFFFF)
    crafted(at("crafted_long.tif"), count=0xFFFFFFFF)
    crafted(at("crafted_rows0.tif"), rows=0)
    crafted(at("crafted_bits.tif"), bits=63)
    crafted(at("crafted_samples.tif"), samples=65535)
    crafted(at("crafted_codec.tif"), compression=60000)
    crafted(at("crafted_jpeg.tif"), compression=7)
    crafted(at("crafted_ojpeg.tif"), compression=6)
    crafted(at("crafted_space.tif"), photometric=9999)
    crafted(at("crafted_loop.tif"), loop=True)


def names(out, src):
    """The same picture under names that are hard to write in an URL."""
    for n in ("sub/b.tif", "sub/deep/er/b.tif", "a b.tif", "a%3Cb", "%41.tif", "100%.tif", "sl%2Fash.tif", "plus+sign.tif",
              "semi;2.tif", "q?mark.tif", "hash#.tif", "br[ack]et.tif", "quo'te\"d.tif", "a<b>.tif", "comma,1.tif",
              "\u00e4\u65e5\u672c.tif", "ark:/12025/654xz321", "full", "info.json.tif", "tilde~.tif", "at@home.tif", "back`.tif",
              "caret^.tif", "excl!.tif", "private/x.tif", "private area/x.tif", "auth/x.tif", "local/x.tif", "open/x.tif"):
        path = os.path.join(out, "names", n)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        shutil.copyfile(src, path)


def own(out):
    at = lambda n: os.path.join(out, n)  # noqa: E731
    tmp = at("tmp.ppm")
    # vectors: A 6000x4000, B 300x200, 3073x3073 with tiles of 512
    save(smooth(6000, 4000), tmp)
    pyramid(tmp, at("a.tif"), "jpeg", 256, "--Q", "92")
    save(smooth(300, 200), at("b.tif"), compression="tiff_deflate")
    save(smooth(300, 200), at("b.jpg"), quality=95)
    save(smooth(3073, 3073), tmp)
    pyramid(tmp, at("t3073.tif"), "deflate", 512, "--predictor", "horizontal")
    # the validator's picture
    save(squares(), tmp)
    pyramid(tmp, at("squares.tif"), "deflate", 256)
    vips(tmp, at("squares_flat.tif"), "--compression", "lzw")
    save(squares(), at("squares.jpg"), quality=95, subsampling=0)
    save(squares(), at("squares.png"))
    # photographs
    leaf = PHOTOS + "/FallenLeaf/contents/images/2560x1600.jpg"
    pyramid(leaf, at("photo.tif"), "jpeg", 256, "--Q", "85")
    pyramid(leaf, at("photo_deflate.tif"), "deflate", 256, "--predictor", "horizontal", "--strip")
    pyramid(leaf, at("photo_sub.tif"), "jpeg", 256, "--Q", "85", "--subifd", "--bigtiff")
    shutil.copyfile(leaf, at("photo.jpg"))
    flow = PHOTOS + "/Flow/contents/images/5120x2880.jpg"
    pyramid(flow, at("big.tif"), "jpeg", 256, "--Q", "85")
    Image.open(flow).convert("RGB").save(at("big.jpg"), quality=85)
    Image.open(leaf).convert("L").resize((700, 437)).save(at("gray.tif"), compression="tiff_deflate")
    rgba = np.dstack([smooth(200, 160), np.tile(np.linspace(0, 255, 200).astype(np.uint8), (160, 1))])
    save(rgba, at("alpha.tif"), compression="tiff_deflate")
    Image.open(leaf).convert("L").resize((500, 312)).convert("1").save(at("bilevel.tif"), compression="group4")
    os.unlink(tmp)
    sparse(at("sparse.tif"))
    names(out, at("b.tif"))
    damaged(at("bad"))


def make(out):
    import make_colour
    import make_jp2
    import make_jpeg
    import make_matrix
    import make_tiff

    for name, part in (("tiff", make_tiff), ("matrix", make_matrix), ("jpeg", make_jpeg), ("jp2", make_jp2),
                       ("colour", make_colour)):
        os.makedirs(os.path.join(out, name))
        part.make(os.path.join(out, name))
    own(out)


def main():
    out = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "..", "..", "build", "data"))
    digest = hashlib.sha256()
    for n in ("make_data.py", "make_tiff.py", "make_heif.py", "make_matrix.py", "matrix_formats.py", "make_jpeg.py", "make_jp2.py", "make_colour.py"):
        with open(os.path.join(HERE, n), "rb") as f:
            digest.update(f.read())
    os.umask(0o022)
    os.makedirs(os.path.dirname(out), exist_ok=True)
    with open(out + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = os.path.join(out, ".made")
        if os.path.exists(stamp) and open(stamp).read() == digest.hexdigest():
            return
        new = out + ".new"
        for old in (new, out):
            shutil.rmtree(old, ignore_errors=True)
        os.makedirs(new)
        make(new)
        with open(os.path.join(new, ".made"), "w") as f:
            f.write(digest.hexdigest())
        os.rename(new, out)


if __name__ == "__main__":
    main()
