# SPDX-License-Identifier: Apache-2.0
"""What bad input gets over JPIP (spec/jpip.md 12): names, fields, damaged files."""
import os
import shutil
import struct

import pytest

import jpip_client as jc
import make_jpip
from common import refused
from test_jpip import decode, decoded, jpip, pictures  # noqa: F401


@pytest.mark.parametrize("path", ["../secret.jp2", "..%2fsecret.jp2", "a%00.jp2", "a\\b.jp2", "/etc/passwd", "out.jp2", ".hidden.jp2",
                                  "none.jp2", "sub", "%2e%2e/secret.jp2"])
def test_bad_names(serve, folder, pictures, path):  # noqa: F811
    os.makedirs(folder + "/own/sub")
    shutil.copy(pictures + "/gray.jp2", folder + "/secret.jp2")
    shutil.copy(pictures + "/gray.jp2", folder + "/own/.hidden.jp2")
    os.symlink(folder + "/secret.jp2", folder + "/own/out.jp2")
    s = serve('<Location /k>\nSetHandler jpip-handler\nIIPRoot "%s/own"\n</Location>\n' % folder)
    for r in (s.get("/k?target=" + path), s.request("POST", "/k", None, b"target=" + path.encode())):
        assert r.status in (400, 404) if "%00" in path else r.status == 404, r
        assert b"secret" not in r.body and folder.encode() not in r.body


@pytest.mark.parametrize("query, status, name", [
    ("fsiz=0,10", 400, "range"), ("fsiz=10", 400, "syntax"), ("fsiz=-1,5", 400, "syntax"), ("fsiz=a,b", 400, "syntax"),
    ("fsiz=10,10,sideways", 400, "syntax"), ("fsiz=2147483648,1", 400, "syntax"), ("roff=1", 400, "syntax"),
    ("rsiz=-1,1", 400, "syntax"), ("len=-1", 400, "syntax"), ("len=99999999999999999999", 400, "syntax"), ("len=", 400, "syntax"),
    ("layers=x", 400, "syntax"), ("quality=101", 400, "syntax"), ("quality=-1", 400, "syntax"), ("stream=", 400, "syntax"),
    ("stream=5-3", 400, "syntax"), ("stream=0-9:0", 400, "syntax"), ("comps=a", 400, "syntax"), ("context=jpxl<x>", 400, "syntax"),
    ("context=jpxl<1", 400, "syntax"), ("qid=x", 400, "syntax"), ("wait=maybe", 400, "syntax"), ("align=1", 400, "syntax"),
    ("srate=x", 400, "syntax"), ("drate=1.5.5", 400, "syntax"), ("tid=", 400, "syntax"), ("tid=" + "x" * 256, 400, "syntax"),
    ("cid=", 400, "syntax"), ("target=%zz", 400, "syntax"), ("len=%zz", 400, "syntax"), ("subtarget=5", 400, "syntax"),
    ("subtarget=9-5", 400, "syntax"), ("subtarget=0-99999999", 400, "range"), ("type=image/png", 415, "format"), ("type=", 415, "format"),
    ("upload=x", 501, "feature"), ("tpmodel=1", 400, "syntax"), ("tpneed=1.", 400, "syntax"), ("mset=x", 400, "syntax"),
    ("stream=" + ",".join("1" for _ in range(1100)), 400, "syntax"),
])
def test_bad_fields(jpip, query, status, name):
    r = refused(jpip().get("/j/gray.jp2?" + query), status, name)
    assert query.split("=")[0].encode() in r.body or status == 404


@pytest.mark.parametrize("query", ["fsiz=187,141", "roff=5000,5000&rsiz=10,10&fsiz=187,141", "roff=-50,-50&rsiz=10,10&fsiz=187,141",
                                   "rsiz=0,0&fsiz=187,141", "rsiz=10,0&fsiz=187,141", "stream=77&fsiz=187,141", "roff=3,3", "unknown=[*]!!&roi=dynamic",
                                   "fsiz=2147483647,2147483647&roff=2147483647,2147483647&rsiz=2147483647,2147483647", "srate=12.5&drate=3",
                                   "fsiz=1,1&fsiz=187,141", "&&&=&x", "comps=7&fsiz=187,141", "model=P1152921504606846976:99999999999999999999"])
def test_odd_but_good(jpip, query):
    """200, and an end of response: nothing selected is no error."""
    r = jpip().get("/j/gray.jp2?" + query)
    assert r.status == 200 and jc.messages(r.body)[1] in (1, 2), r


def siz(**change):
    """A main header with fields of SIZ changed."""
    f = dict(rsiz=0, x1=64, y1=64, x0=0, y0=0, tw=64, th=64, tx0=0, ty0=0, n=1, sub=1)
    f.update(change)
    comps = bytes([7, f["sub"], f["sub"]]) * min(f["n"], 16384)
    body = struct.pack(">HIIIIIIIIH", *(f[k] for k in ("rsiz", "x1", "y1", "x0", "y0", "tw", "th", "tx0", "ty0", "n"))) + comps
    style, precincts = (1, bytes([0x00, 0x00])) if f.get("precinct0") else (0, b"")
    cod = bytes([style, 0, 0, 1, 0, 1, 4, 4, 0, 1]) + precincts
    qcd = bytes([0x40, 0x40, 0x48, 0x48, 0x50])
    seg = lambda m, d: struct.pack(">HH", m, len(d) + 2) + d
    return b"\xff\x4f" + seg(0xFF51, body) + seg(0xFF52, cod) + seg(0xFF5C, qcd) + f.get("extra", b"")


def sot(n=14, tile=0):
    return struct.pack(">HHHIBB", 0xFF90, 10, tile, n, 0, 1) + b"\xff\x93"


BOX = make_jpip.box
START = BOX(b"jP  ", b"\r\n\x87\n") + BOX(b"ftyp", b"jp2 \0\0\0\0jp2 ")
DAMAGED = {
    "no components": siz(n=0) + sot() + b"\xff\xd9",
    "XRsiz 0": siz(sub=0) + sot() + b"\xff\xd9",
    "tile size 0": siz(tw=0) + sot() + b"\xff\xd9",
    "tile count": siz(x1=65536, y1=65536, tw=1, th=1) + sot() + b"\xff\xd9",
    "precinct exponent 0": siz(precinct0=1) + sot() + b"\xff\xd9",
    "Lmar 1": siz(extra=b"\xff\x64\0\1") + sot() + b"\xff\xd9",
    "not a picture": b"nothing of the kind, but long enough to be read",
    "box length 5": START + struct.pack(">I4s", 5, b"xml ") + b"x" * 100,
    "XL 9": START + struct.pack(">I4sQ", 1, b"xml ", 9) + b"x" * 100,
    "box past the end": START + struct.pack(">I4s", 5000, b"xml ") + b"x" * 100,
}


@pytest.mark.log("IIP01")
@pytest.mark.parametrize("kind", sorted(DAMAGED))
def test_damaged(serve, folder, kind):
    """What breaks a structural limit is 415, with a reason and without a path."""
    with open(folder + "/a.jp2", "wb") as f:
        f.write(DAMAGED[kind])
    s = serve('<Location /k>\nSetHandler jpip-handler\nIIPRoot "%s"\n</Location>\n' % folder)
    r = refused(s.get("/k/a.jp2?fsiz=64,64"), 415, "format")
    assert folder.encode() not in r.body


@pytest.mark.log("IIP01")
def test_lying_plt(serve, folder, pictures):  # noqa: F811
    """PLT that lies: the packet headers decide."""
    with open(pictures + "/rpcl-whole-plt.jp2", "rb") as f:
        data = bytearray(f.read())
    at = data.index(b"\xff\x58")
    for i in range(5, 60, 3):
        data[at + i] ^= 1
    with open(folder + "/a.jp2", "wb") as f:
        f.write(data)
    s, c = serve('<Location /k>\nSetHandler jpip-handler\nIIPRoot "%s"\n</Location>\n' % folder), jc.Cache()
    assert c.take(s.get("/k/a.jp2?fsiz=187,141").body)[1] == 1
    assert decoded(c, folder) == decode(pictures + "/rpcl-whole-plt.jp2")
