#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Pictures with colour profiles, of every depth, and with texts: make(folder). The profiles are written here from ICC.1:2010
(version 2), so that a test knows what each of them means without asking any colour library."""
import os
import struct
import subprocess
import sys

import numpy as np
import tifffile
from PIL import Image

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from make_tiff import photo  # noqa: E402

D50 = (0.9642, 1.0, 0.8249)
D65 = (0.3127, 0.3290)
BRADFORD = np.array([[.8951, .2664, -.1614], [-.7502, 1.7135, .0367], [.0389, -.0685, 1.0296]])
SPACES = {  # primaries, gamma; white is D65
    "srgb": ([(.64, .33), (.30, .60), (.15, .06)], None),
    "adobe": ([(.64, .33), (.21, .71), (.15, .06)], 563 / 256),
    "wide": ([(.7347, .2653), (.1596, .8404), (.0366, .0001)], 1.8),
    "linear": ([(.64, .33), (.30, .60), (.15, .06)], 1.0),
}
GREY_GAMMA = 1.8


def s15f16(*v):
    return b"".join(struct.pack(">i", round(x * 65536)) for x in v)


def curve(gamma):
    """A gamma as its number; sRGB's curve as a table."""
    if gamma:
        return struct.pack(">4sIIH", b"curv", 0, 1, round(gamma * 256))
    v = np.arange(1024) / 1023
    light = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)
    return struct.pack(">4sII", b"curv", 0, 1024) + np.round(light * 65535).astype(">u2").tobytes()


def profile(kind, space, pcs, tags):
    """kind: class; tags: [(signature, bytes)]."""
    text = b"a profile of the tests\0"
    tags = [(b"desc", struct.pack(">4sII", b"desc", 0, len(text)) + text + bytes(78)), (b"cprt", b"text\0\0\0\0none\0"),
            (b"wtpt", b"XYZ \0\0\0\0" + s15f16(*D50))] + tags
    at = 128 + 4 + 12 * len(tags)
    table, data = struct.pack(">I", len(tags)), b""
    for sig, body in tags:
        table += struct.pack(">4sII", sig, at + len(data), len(body))
        data += body + bytes(-len(body) % 4)
    head = struct.pack(">I4sI4s4s4s12s4s", 0, b"none", 0x02400000, kind, space, pcs, bytes(12), b"acsp")
    head += bytes(64 - len(head)) + bytes(4) + s15f16(*D50) + bytes(48)
    out = head + table + data
    return struct.pack(">I", len(out)) + out[4:]


def to_xyz(name):
    """RGB of a space (linear) to XYZ under D65."""
    p = np.array([(x / y, 1, (1 - x - y) / y) for x, y in SPACES[name][0]]).T
    white = np.array([D65[0] / D65[1], 1, (1 - D65[0] - D65[1]) / D65[1]])
    return p * np.linalg.solve(p, white)


def rgb_profile(name, padding=0):
    white = np.array([D65[0] / D65[1], 1, (1 - D65[0] - D65[1]) / D65[1]])
    adapt = np.linalg.inv(BRADFORD) @ np.diag((BRADFORD @ D50) / (BRADFORD @ white)) @ BRADFORD
    columns = (adapt @ to_xyz(name)).T
    tags = [(sig, b"XYZ \0\0\0\0" + s15f16(*c)) for sig, c in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns)]
    tags += [(sig, curve(SPACES[name][1])) for sig in (b"rTRC", b"gTRC", b"bTRC")]
    if padding:
        tags.append((b"junk", b"data\0\0\0\0" + bytes(padding)))
    return profile(b"mntr", b"RGB ", b"XYZ ", tags)


def grey_profile(gamma=GREY_GAMMA):
    return profile(b"mntr", b"GRAY", b"XYZ ", [(b"kTRC", curve(gamma))])


def inks_profile():
    """Four inks, each takes light away; a table of 9 points a side (lut16Type) to CIELAB."""
    left = np.array([[.05, .45, .80], [.75, .10, .40], [.95, .80, .06], [.04, .04, .04]])
    ink = np.stack(np.meshgrid(*[np.linspace(0, 1, 9)] * 4, indexing="ij"), -1).reshape(-1, 4)
    f = np.cbrt(np.prod(1 - ink[..., None] * (1 - left), 1))
    lab = np.stack([116 * f[:, 1] - 16, 350 * (f[:, 0] - f[:, 1]), 150 * (f[:, 1] - f[:, 2])], -1)
    code = np.stack([lab[:, 0] / 100 * 65280, (lab[:, 1] + 128) * 256, (lab[:, 2] + 128) * 256], -1)
    body = struct.pack(">4sIBBBB", b"mft2", 0, 4, 3, 9, 0) + s15f16(1, 0, 0, 0, 1, 0, 0, 0, 1) + struct.pack(">HH", 3, 2)
    body += np.array([[0, 30000, 65535]] * 4, ">u2").tobytes() + np.round(code).astype(">u2").tobytes()
    body += np.array([[0, 65535]] * 3, ">u2").tobytes()
    return profile(b"prtr", b"CMYK", b"Lab ", [(b"A2B0", body), (b"A2B1", body)])


def inks(px):
    """A CMYK picture out of an RGB one: any will do, with some of each ink."""
    k = (255 - px.max(-1)) // 2
    return np.concatenate([255 - px - k[..., None] // 2, k[..., None]], -1).astype(np.uint8)


def deep(px):
    """16 bits with something in the low ones."""
    low = (np.arange(px.size).reshape(px.shape) * 97 % 256).astype(np.uint16)
    return px.astype(np.uint16) << 8 | low


def tiff(path, px, icc=None, photometric="rgb", **kw):
    tags = [(34675, 7, len(icc), icc, True)] if icc else []
    tifffile.imwrite(path, px, photometric=photometric, extratags=tags + kw.pop("extratags", []), metadata=None, **kw)


XMP = (b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
       b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
       b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6" tiff:Artist="she"/></rdf:RDF></x:xmpmeta><?xpacket end="r"?>')


def segment(data):
    return struct.pack(">HH", 0xFFE1, len(data) + 2) + data


def directory(at, entries, following=0):
    """Of a big-endian EXIF block, to stand at `at`: [(tag, type, count, bytes of the value)], rising."""
    head, data = struct.pack(">H", len(entries)), b""
    end = at + 2 + 12 * len(entries) + 4
    for tag, kind, count, value in entries:
        head += struct.pack(">HHI", tag, kind, count)
        head += value.ljust(4, b"\0") if len(value) <= 4 else struct.pack(">I", end + len(data))
        data += value + bytes(len(value) % 2) if len(value) > 4 else b""
    return head + struct.pack(">I", following) + data


def exif():
    """A camera's block: orientation 6, texts, exposure time, a maker's note, a place, a thumbnail."""
    shot = [(0x829A, 5, 1, struct.pack(">II", 1, 250)), (0x927C, 7, 40, b"a maker's own note, with places in it...")]
    place = [(1, 2, 2, b"N\0"), (2, 5, 3, struct.pack(">6I", 50, 1, 30, 1, 0, 1))]
    thumb = [(0x0201, 4, 1, struct.pack(">I", 0)), (0x0202, 4, 1, struct.pack(">I", 0))]
    at = [200, 300, 400]
    main = [(0x010F, 2, 8, b"a maker\0"), (0x0112, 3, 1, struct.pack(">H", 6)), (0x013B, 2, 10, b"an artist\0"),
            (0x8298, 2, 10, b"the owner\0"), (0x8769, 4, 1, struct.pack(">I", at[0])), (0x8825, 4, 1, struct.pack(">I", at[1]))]
    out = struct.pack(">2sHI", b"MM", 42, 8) + directory(8, main, at[2])
    for place_of, entries in zip(at, (shot, place, thumb)):
        out = out.ljust(place_of, b"\0") + directory(place_of, entries)
    return out + b"THUMBNAIL"


def make(out):
    os.makedirs(out, exist_ok=True)
    at = lambda name: os.path.join(out, name)  # noqa: E731
    px = photo()
    grey = px[..., 1]
    profiles = {n: rgb_profile(n) for n in SPACES}
    profiles.update(grey=grey_profile(), inks=inks_profile(), large=rgb_profile("adobe", 70000), broken=b"no profile" * 50)
    profiles["damaged"] = profiles["adobe"][:300] + bytes(200) + profiles["adobe"][500:]
    for n, b in profiles.items():
        with open(at(n + ".icc"), "wb") as f:
            f.write(b)
    # 8 and 16 bits in tiles and strips; a pyramid of JPEG tiles for pass-through
    for n in ("srgb", "adobe", "wide", "large", "broken", "damaged"):
        tiff(at(n + ".tif"), px, profiles[n], tile=(128, 128), compression="deflate")
        Image.fromarray(px).save(at(n + ".jpg"), quality=95, subsampling=0, icc_profile=profiles[n])
    for n in ("adobe", "srgb"):
        subprocess.run(["vips", "tiffsave", at(n + ".tif"), at(n + "-tiles.tif"), "--tile", "--tile-width", "128", "--tile-height", "128",
                        "--compression", "jpeg", "--Q", "90"], check=True, env=dict(os.environ, VIPS_WARNING="0"))
    for n in ("adobe", "wide"):
        tiff(at(n + "16.tif"), deep(px), profiles[n], tile=(128, 128), compression="deflate")
    alpha = np.dstack([deep(px), deep(np.tile(np.linspace(0, 255, px.shape[1]).astype(np.uint8), (px.shape[0], 1)))])
    tiff(at("adobe16-alpha.tif"), alpha, profiles["adobe"], extrasamples=["unassalpha"])
    tiff(at("grey18.tif"), grey, profiles["grey"], "minisblack")
    tiff(at("grey18-16.tif"), deep(grey), profiles["grey"], "minisblack")
    Image.fromarray(grey).save(at("grey18.jpg"), quality=95, icc_profile=profiles["grey"])
    tiff(at("linear.tif"), ((px / 255.0) ** 2.2).astype(np.float32), profiles["linear"])
    # inks, with a profile and without
    tiff(at("inks.tif"), inks(px), profiles["inks"], "separated")
    tiff(at("inks16.tif"), deep(inks(px)), profiles["inks"], "separated")
    tiff(at("inks-plain.tif"), inks(px), None, "separated")
    Image.fromarray(inks(px), "CMYK").save(at("inks.jpg"), quality=95, subsampling=0, icc_profile=profiles["inks"])
    # depths without profiles
    tiff(at("u16.tif"), deep(px))
    tiff(at("u32.tif"), deep(px).astype(np.uint32) << 16 | 0x1234)
    tiff(at("f32.tif"), (px / 255.0).astype(np.float32) ** 2)
    tiff(at("grey16.tif"), deep(grey), None, "minisblack")
    # texts
    Image.fromarray(px).save(at("texts.jpg"), quality=95, dpi=(300, 300))
    with open(at("texts.jpg"), "r+b") as f:
        plain = f.read()
        f.seek(0)
        f.write(plain[:2] + segment(b"Exif\0\0" + exif()) + segment(b"http://ns.adobe.com/xap/1.0/\0" + XMP) + plain[2:])
    tiff(at("texts.tif"), px, None, tile=(128, 128), resolution=(150, 150, "INCH"), description="what it shows", software="a program",
         extratags=[(315, 2, 0, "an artist", True), (33432, 2, 0, "the owner", True), (700, 1, len(XMP), XMP, True)])
    for dpi in (72, 300, 25.4):
        tiff(at("dpi%g.tif" % dpi), grey, None, "minisblack", resolution=(dpi, dpi, "INCH"))


if __name__ == "__main__":
    make(sys.argv[1] if len(sys.argv) > 1 else "build/data/colour")
