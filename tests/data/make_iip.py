# SPDX-License-Identifier: Apache-2.0
"""Pictures of the IIP tests, each with its values known: make(folder) -> {name: array as stored}."""
import os
import subprocess

import numpy as np
import tifffile
from PIL import Image


def smooth(w, h):
    x = np.linspace(0, 1, w)[None, :]
    y = np.linspace(0, 1, h)[:, None]
    return np.stack([20 + 215 * x + 0 * y, 20 + 215 * y + 0 * x, 127 + 100 * np.sin(6.28 * (1.5 * x + y))], -1).astype(np.uint8)


def noise(shape, dtype, seed):
    rng = np.random.RandomState(seed)
    if np.dtype(dtype).kind == "f":
        return rng.rand(*shape).astype(dtype)
    i = np.iinfo(dtype)
    return rng.randint(i.min, i.max, shape, dtype=np.int64).astype(dtype)


def vips(src, dst, *options):
    subprocess.run(["vips", "tiffsave", src, dst, "--tile", "--tile-width", "256", "--tile-height", "256", *options],
                   check=True, env=dict(os.environ, VIPS_WARNING="0"))


def make(folder):
    p = lambda name: os.path.join(folder, name)  # noqa: E731
    os.makedirs(folder, exist_ok=True)
    os.umask(0o022)
    out = {"v": smooth(2000, 1500)}
    Image.fromarray(out["v"]).save(p("v.png"))
    vips(p("v.png"), p("v.tif"), "--pyramid", "--compression", "deflate")  # 4 levels, the vectors of iip.md 11
    vips(p("v.png"), p("vj.tif"), "--pyramid", "--compression", "jpeg", "--Q", "90")
    vips(p("v.png"), p("flat.tif"), "--compression", "deflate")  # no levels
    os.makedirs(p("dir"), exist_ok=True)
    os.link(p("v.tif"), p("dir/v.tif"))
    Image.fromarray(out["v"]).save(p("v.jpg"), quality=95)
    os.remove(p("v.png"))
    out["w"] = smooth(1001, 751)  # wavelet levels, in tiles and layers
    Image.fromarray(out["w"]).save(p("w.jp2"), tile_size=(512, 512), num_resolutions=3, quality_mode="rates", quality_layers=[60, 10, 1])
    for name, shape, dtype in (("u8", (300, 400, 3), np.uint8), ("u16", (300, 400), np.uint16), ("u32", (60, 70), np.uint32),
                               ("f32", (60, 70, 2), np.float32), ("f64", (60, 70), np.float64), ("s16", (60, 70), np.int16),
                               ("five", (60, 70, 5), np.uint16)):
        out[name] = noise(shape, dtype, len(out))
        planar = {} if len(shape) == 2 else {"planarconfig": "separate" if name == "five" else "contig"}
        data = np.moveaxis(out[name], -1, 0) if name == "five" else out[name]
        tifffile.imwrite(p(name + ".tif"), data, tile=(64, 64),
                         photometric="rgb" if name == "u8" else "minisblack", metadata=None, **planar)
    out["ramp16"] = np.tile(np.arange(256, dtype=np.uint16) * 257, (64, 1))
    out["ramp16"][:, 0:64] = 6553
    tifffile.imwrite(p("ramp16.tif"), out["ramp16"], tile=(64, 64), photometric="minisblack", metadata=None)
    out["flatrgb"] = np.full((128, 128, 3), (27, 19, 2), np.uint8)
    tifffile.imwrite(p("flatrgb.tif"), out["flatrgb"], tile=(64, 64), photometric="rgb", metadata=None)
    tifffile.imwrite(p("bilevel.tif"), out["u8"][..., 0] > 99, tile=(64, 64), photometric="minisblack", metadata=None)
    # a stack: pages with names and scales
    with tifffile.TiffWriter(p("stack.tif")) as t:
        for i in range(3):
            page = noise((80, 100), np.uint16, 50 + i)
            out["stack%d" % i] = page
            t.write(page, tile=(32, 32), photometric="minisblack", subfiletype=2, metadata=None,
                    extratags=[(269, "s", 0, ["red \"1\"", "<green>", "blue"][i], False), (37439, "d", 1, 0.5 * (i + 1), False)])
    # a sequence: h of 0 10 20 at v = 90, and 0 30 90 at h = 0; other files that only look alike
    for h, v in ((0, 90), (10, 90), (20, 90), (0, 30), (0, 0)):
        px = np.full((64, 64), h + v, np.uint8)
        Image.fromarray(px).save(p("dir/thing_pyr_%03d_%03d.png" % (h, v)))
    for other in ("thing_pyr_5_090.png", "thing_pyr_0030_090.png", "thing_pyr_040_090.jpg", "thingy_pyr_050_090.png",
                  "thing_pyr_060_090.png.bak", "thing_pyr_070-090.png"):
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(p("dir/" + other), format="PNG")
    for ext in ("png", "tif"):
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(p("both_pyr_000_090." + ext))
    # texts
    tifffile.imwrite(p("texts.tif"), out["flatrgb"], tile=(64, 64), photometric="rgb", description="A \"view\" <of> Zürich".encode("utf-8"),
                     software="paint \\ 3", datetime="2020:02:03 04:05:06", resolution=(300, 300), resolutionunit=2, metadata=None,
                     extratags=[(315, "s", 0, "An Artist", False), (33432, "s", 0, "(c) me", False), (271, "s", 0, "Cam", False),
                                (700, "B", len(XMP), XMP, False)])
    out["xmp"] = XMP
    return out


XMP = ("""<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:ModifyDate="2021-01-01">
<dc:title><rdf:Alt><rdf:li xml:lang="x-default">Title &amp; more</rdf:li></rdf:Alt></dc:title>
<dc:subject><rdf:Bag><rdf:li>one</rdf:li><rdf:li>two</rdf:li></rdf:Bag></dc:subject>
</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>""").encode()


if __name__ == "__main__":
    import sys
    make(sys.argv[1])
