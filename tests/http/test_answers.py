# SPDX-License-Identifier: Apache-2.0
"""Headers, conditions, ranges, streaming, pass-through (spec/iiif.md R45 to R48, architecture 3.4 and 4)."""
import email.utils
import gzip
import io
import os
import re
import shutil
import subprocess
import time

import numpy as np
import pytest
import tifffile
from PIL import Image

import httpd
from common import difference, location, near, read, refused, steady

CONF = (location("/i") + location("/cc", "{data}", 'IIPCacheControl "public, max-age=7"') + location("/nopass", "{data}", "IIPPassthrough Off")
        + location("/q", "{data}", "IIPQuality jpeg 30") + location("/bg", "{data}", "IIPBackground 102030")
        + location("/big", "{data}", "IIPMaxArea 0", "IIPMaxMemory 1G"))
TILE = "/i/photo.tif/256,256,256,256/256,256/0/default.jpg"
SCALED = "/i/photo.tif/0,0,1000,900/333,/0/default.jpg"
INFO = "/i/photo.tif/info.json"
STREAM = "/i/photo.tif/full/^2600,/0/default.jpg"  # 2600 x 1625 = 4.2 Mpx
STREAM_PNG = "/i/photo.tif/full/^2600,/0/default.png"
NOT_STREAM = "/i/photo.tif/full/max/0/default.jpg"  # 2560 x 1600 = 4.096 Mpx: decided by 4 Mpx


@pytest.mark.any_mpm
@pytest.mark.parametrize("path", [TILE, SCALED, INFO, STREAM, STREAM_PNG])
def test_validators(serve, data, path):
    s = serve(CONF)
    r = s.get(path)
    assert r.status == 200 and not r.broken
    assert re.fullmatch(r'"[^"]+"', r["ETag"]), "a strong tag"
    assert email.utils.parsedate_to_datetime(r["Last-Modified"]).timestamp() == int(os.stat(data + "/photo.tif").st_mtime)
    assert r["Cache-Control"] == "max-age=86400"
    for headers in ({"If-None-Match": r["ETag"]}, {"If-None-Match": "*"}, {"If-None-Match": '"other", ' + r["ETag"]},
                    {"If-None-Match": "W/" + r["ETag"]}, {"If-Modified-Since": r["Last-Modified"]}):
        for method in ("GET", "HEAD"):
            n = s.request(method, path, headers)
            assert n.status == 304 and not n.body, (headers, n)
            assert n["ETag"] == r["ETag"] and n["Cache-Control"] == r["Cache-Control"]
            assert n["Access-Control-Allow-Origin"] == "*" and n["Link"] == r["Link"]
    for headers in ({"If-None-Match": '"other"'}, {"If-Modified-Since": "Sat, 01 Jan 2000 00:00:00 GMT"},
                    {"If-None-Match": '"other"', "If-Modified-Since": r["Last-Modified"]}):
        assert s.get(path, headers).status == 200
    assert s.get(path, {"If-Match": '"other"'}).status == 412


@pytest.mark.any_mpm
@pytest.mark.parametrize("path", [TILE, SCALED, INFO])
def test_length_and_head(serve, path):
    """HEAD: the headers of GET; the length only when the answer is there already, and no work for it."""
    s = serve(CONF, fresh=True)
    cold = s.head_of(path)
    assert cold.status == 200 and not cold.body
    r = s.get(path)
    assert int(r["Content-Length"]) == len(r.body) and not r.chunked
    warm = s.head_of(path)
    assert warm["Content-Length"] == r["Content-Length"]
    drop = lambda x: [h for h in steady(x.headers) if h[0] != "content-length"]  # noqa: E731
    assert drop(warm) == drop(r) and drop(cold) == drop(r)
    if path != INFO:
        assert cold["Content-Length"] is None


def test_head_costs_nothing(serve):
    """A HEAD, or a 304, of a large export answers at once on a cold child."""
    s = serve(CONF, fresh=True)
    s.get("/i/big.tif/info.json")
    t = time.time()
    r = s.head_of("/i/big.tif/full/4000,/33/default.png")
    assert r.status == 200 and r["ETag"] and time.time() - t < 0.25
    t = time.time()
    assert s.get("/i/big.tif/full/4000,/33/default.png", {"If-None-Match": r["ETag"]}).status == 304 and time.time() - t < 0.25


@pytest.mark.any_mpm
@pytest.mark.parametrize("path", [TILE, SCALED, INFO])
def test_ranges(serve, path):
    s = serve(CONF)
    whole = s.get(path)
    n = len(whole.body)
    assert whole["Accept-Ranges"] == "bytes"
    for spec, a, b in (("0-99", 0, 100), ("5-5", 5, 6), ("-7", n - 7, n), ("%d-" % (n - 3), n - 3, n), ("0-%d" % (n + 99), 0, n)):
        r = s.get(path, {"Range": "bytes=" + spec})
        assert r.status in (206, 200) and r.body == whole.body[a:b], spec
        if b - a < n:
            assert r.status == 206 and r["Content-Range"] == "bytes %d-%d/%d" % (a, b - 1, n)
        assert r["ETag"] == whole["ETag"]
    r = s.get(path, {"Range": "bytes=0-3,10-13"})
    assert r.status == 206 and whole.body[:4] in r.body and whole.body[10:14] in r.body
    r = s.get(path, {"Range": "bytes=%d-" % (n + 5)})
    assert r.status == 416 and r["Access-Control-Allow-Origin"] == "*", "R46: on every response"
    assert s.get(path, {"Range": "lines=1-2"}).status == 200
    assert s.get(path, {"Range": "bytes=0-9", "If-Range": whole["ETag"]}).status == 206
    assert s.get(path, {"Range": "bytes=0-9", "If-Range": '"other"'}).status == 200
    r = s.head_of(path, {"Range": "bytes=0-9"})
    assert r.status in (200, 206) and not r.body


@pytest.mark.any_mpm
@pytest.mark.parametrize("path,fmt", [(STREAM, "JPEG"), (STREAM_PNG, "PNG")])
def test_streamed(serve, path, fmt):
    s = serve(CONF)
    r = s.get(path)
    assert r.status == 200 and r.chunked and r["Content-Length"] is None and not r.broken
    assert r["Accept-Ranges"] == "none"
    im = r.image()
    assert im.format == fmt and im.size == (2600, 1625)
    p = s.get(path, {"Range": "bytes=0-99"})
    assert p.status == 200 and p.body == r.body, "no range of what streams; and the same bytes again"
    h = s.head_of(path)
    assert h.status == 200 and h["Content-Length"] is None and h["ETag"] == r["ETag"]


def test_where_streaming_begins(serve):
    """JPEG and PNG over 4 Mpx of output stream; the rest is whole (architecture 4)."""
    s = serve(CONF)
    for size, streams in (("2000,1999", False), ("2000,2001", True), ("4000,1001", True)):
        for fmt in ("jpg", "png"):
            r = s.get("/i/photo.tif/full/^%s/0/default.%s" % (size, fmt))
            assert r.status == 200 and r.chunked == streams, (size, fmt)
            assert (r["Content-Length"] is None) == streams


def test_bytes_are_steady(serve):
    """security.md 2.3: same URL, same bytes; cold, warm, and from another child."""
    paths = [TILE, SCALED, INFO, STREAM, "/i/photo.jpg/full/500,/0/default.jpg", "/i/alpha.tif/full/max/30/default.png",
             "/i/squares.tif/full/333,/!15/gray.png", "/i/photo_deflate.tif/0,0,512,512/256,/0/default.jpg"]
    a = serve(CONF, fresh=True)
    first = [a.get(p) for p in paths]
    again = [a.get(p) for p in paths]
    b = serve(CONF.replace("/cc", "/cc2"), fresh=True)
    other = [b.get(p) for p in reversed(paths)][::-1]
    for p, x, y, z in zip(paths, first, again, other):
        assert x.status == 200, (p, x)
        assert x.body == y.body and x["ETag"] == y["ETag"], p
        if p != INFO:
            assert x.body == z.body and x["ETag"] == z["ETag"], p


def test_tags_differ(serve):
    """Different bytes, different tags: request, configuration that changes bytes, source."""
    s = serve(CONF)
    paths = ["/i/photo.tif/full/300,/0/default.jpg", "/i/photo.tif/full/301,/0/default.jpg", "/i/photo.tif/full/300,/0/default.png",
             "/i/photo.tif/full/300,/0/gray.jpg", "/i/photo.tif/full/300,/!0/default.jpg", "/i/photo_deflate.tif/full/300,/0/default.jpg",
             "/q/photo.tif/full/300,/0/default.jpg", "/bg/photo.tif/full/300,/0/default.jpg", INFO]
    tags = [s.get(p)["ETag"] for p in paths]
    assert len(set(tags)) == len(tags)


def test_settings_reach_the_answer(serve):
    s = serve(CONF)
    assert s.get("/cc/photo.tif/full/300,/0/default.jpg")["Cache-Control"] == "public, max-age=7"
    assert s.get("/cc/photo.tif/info.json")["Cache-Control"] == "public, max-age=7"
    refused(s.get("/cc/none.tif/info.json"), 404)
    assert len(s.get("/q/photo_deflate.tif/full/300,/0/default.jpg").body) < 0.8 * len(s.get("/i/photo_deflate.tif/full/300,/0/default.jpg").body)
    px = s.get("/bg/b.tif/full/max/45/default.jpg").pixels("RGB")
    near(px[0, 0][None, None], np.array([[[16, 32, 48]]]), 4, 8)
    a = s.get("/bg/alpha.tif/full/max/0/default.jpg").pixels("RGB")
    near(a[:, 0], np.tile([16, 32, 48], (160, 1)), 6, 20)


def test_disposition(serve):
    """R48"""
    s = serve(CONF)
    assert s.get("/i/photo.tif/full/300,/0/default.jpg")["Content-Disposition"] == 'inline; filename="photo_300x188.jpg"'
    assert s.get("/i/photo.tif/full/300,/0/default.jpg?download")["Content-Disposition"] == 'attachment; filename="photo_300x188.jpg"'
    assert s.get("/i/photo.tif/full/300,/90/default.png?download=1")["Content-Disposition"] == 'attachment; filename="photo_188x300.png"'
    a, b = s.get("/i/photo.tif/full/300,/0/default.jpg"), s.get("/i/photo.tif/full/300,/0/default.jpg?download")
    assert a.body == b.body and a["ETag"] == b["ETag"]


def test_no_vary_on_pictures(serve):
    r = serve(CONF).get(TILE)
    assert r["Vary"] is None


# ---- pass-through


def stored_tile(path, level, tx, ty):
    """The pixels of one stored tile, decoded by tifffile's own way (libjpeg through imagecodecs or PIL)."""
    with tifffile.TiffFile(path) as t:
        page = t.series[0].levels[level].pages[0]
        across = -(-page.imagewidth // page.tilewidth)
        i = ty * across + tx
        f = t.filehandle
        f.seek(page.dataoffsets[i])
        data = f.read(page.databytecounts[i])
        tables = page.tags[347].value if 347 in page.tags else None
    if tables:
        data = tables[:-2] + data[2:]
    return data


@pytest.mark.any_mpm
@pytest.mark.parametrize("name", ["photo.tif", "photo_sub.tif", "a.tif"])
@pytest.mark.parametrize("level", [0, 1, 2])
def test_pass_through(serve, data, name, level):
    """A request for exactly one stored tile gets that tile's own coefficients; switched off, the same picture encoded anew."""
    s = serve(CONF)
    f = 1 << level
    tx, ty = (1, 0) if level == 2 else (2, 1)  # an inner tile of each level
    region = "%d,%d,%d,%d" % (tx * 256 * f, ty * 256 * f, 256 * f, 256 * f)
    r = s.get("/i/%s/%s/256,256/0/default.jpg" % (name, region))
    assert r.status == 200
    stored = Image.open(io.BytesIO(stored_tile("%s/%s" % (data, name), level, tx, ty)))
    near(r.pixels(), np.asarray(stored), 0, 0)
    for q in ("color", "default"):
        assert s.get("/i/%s/%s/256,/0/%s.jpg" % (name, region, q)).body == r.body
    off = s.get("/nopass/%s/%s/256,256/0/default.jpg" % (name, region))
    near(off.pixels("RGB"), np.asarray(stored.convert("RGB")), 2.5, 60)
    assert off["ETag"] != r["ETag"]
    png = s.get("/i/%s/%s/256,256/0/default.png" % (name, region))
    near(png.pixels("RGB"), np.asarray(stored.convert("RGB")), 0.6, 4)


def test_pass_through_only_if_exact(serve):
    """One pixel beside, another size or any operation: encoded, and right."""
    s = serve(CONF)
    for tail in ("257,256,256,256/256,256/0/default.jpg", "256,256,255,256/255,256/0/default.jpg", "256,256,256,256/255,256/0/default.jpg",
                 "256,256,256,256/256,256/90/default.jpg", "256,256,256,256/256,256/!0/default.jpg", "256,256,256,256/256,256/0/gray.jpg",
                 "256,256,256,256/256,256/0/bitonal.jpg"):
        r = s.get("/i/photo.tif/" + tail)
        assert r.status == 200, tail
        w, h = tail.split("/")[1].split(",")
        assert r.size == (int(w), int(h)), tail


@pytest.mark.parametrize("tx, ty, level", [(1, 6, 0), (2, 3, 1), (2, 1, 2), (0, 0, 4)])
def test_edge_tile_is_cut(serve, data, tx, ty, level):
    """Stored padded, sent cut: 2560x1600 has 64 rows in its last tile row. The coefficients stay: only where chroma is interpolated with what
    is cut off do pixels differ, in the last row and column; switched off, the same picture is encoded anew, with no more loss than PIL's."""
    s = serve(CONF)
    f = 1 << level
    x, y = tx * 256 * f, ty * 256 * f
    w, h = min(256 * f, 2560 - x), min(256 * f, 1600 - y)
    tail = "photo.tif/%d,%d,%d,%d/%d,%d/0/default.jpg" % (x, y, w, h, w // f, h // f)
    r = s.get("/i/" + tail)
    assert r.size == (w // f, h // f) and r.size != (256, 256)
    stored = np.asarray(Image.open(io.BytesIO(stored_tile(data + "/photo.tif", level, tx, ty))).convert("RGB"))[:h // f, :w // f]
    near(r.pixels("RGB")[:-1, :-1], stored[:-1, :-1], 0, 0)
    near(r.pixels("RGB"), stored, 0.5, 60)
    off, again = s.get("/nopass/" + tail), io.BytesIO()
    Image.fromarray(stored).save(again, "JPEG", quality=75)
    near(off.pixels("RGB"), stored, difference(np.asarray(Image.open(again)), stored)[0] * 1.02, 60)
    assert off.body != r.body


# ---- with other modules


def test_deflate(serve):
    s = serve("AddOutputFilterByType DEFLATE application/json application/ld+json image/jpeg image/png text/plain\n" + CONF, modules=("filter", "deflate"))
    r = s.get(INFO, {"Accept-Encoding": "gzip"})
    assert r["Content-Encoding"] == "gzip" and gzip.decompress(r.body).startswith(b"{")
    for path in (TILE, SCALED, STREAM):
        r = s.get(path, {"Accept-Encoding": "gzip"})
        assert r["Content-Encoding"] is None and r.image()


def test_disk_cache(serve, work):
    """mod_cache stores our answers and gives them back unchanged."""
    store = work + "/tmp/cache-%d" % os.getpid()
    os.makedirs(store, exist_ok=True)
    os.chmod(store, 0o777)
    s = serve('CacheRoot "%s"\nCacheEnable disk /i/\nCacheHeader on\n' % store + CONF, modules=("cache", "cache_disk"))
    a = s.get(TILE)
    for _ in range(20):  # it commits its file a little after the answer
        b = s.get(TILE)
        if "HIT" in b["X-Cache"]:
            break
        time.sleep(0.02)
    assert "HIT" in b["X-Cache"] and a.body == b.body and a["ETag"] == b["ETag"]
    n = s.get(TILE, {"If-None-Match": a["ETag"]})
    assert n.status == 304
    shutil.rmtree(store, ignore_errors=True)


def fetch(folder, urls, *options):
    """All urls by one curl at once; (lines of version and status, bodies)"""
    args = ["curl", "-sS", "-k", "--parallel", "-w", "%{http_version} %{response_code}\\n", *options]
    for i, u in enumerate(urls):
        args += ["-o", "%s/%d" % (folder, i), u]
    p = subprocess.run(args, capture_output=True, text=True, timeout=120)
    assert p.returncode == 0, p.stderr
    bodies = []
    for i in range(len(urls)):
        with open("%s/%d" % (folder, i), "rb") as f:
            bodies.append(f.read())
    return p.stdout.split("\n")[:-1], bodies


H2 = pytest.mark.skipif("HTTP2" not in subprocess.run(["curl", "--version"], capture_output=True, text=True).stdout, reason="curl without HTTP/2")


@H2
@pytest.mark.threaded
def test_http2_cleartext(serve, folder):
    s = serve("Protocols h2c http/1.1\n" + CONF, modules=("http2",))
    for p in (TILE, SCALED, INFO, STREAM):
        for _ in range(2):
            assert fetch(folder, [s.base + p], "--http2-prior-knowledge") == (["2 200"], [s.get(p).body])
    p = subprocess.run(["curl", "-sS", "-I", "--http2-prior-knowledge", s.base + TILE], capture_output=True, text=True)
    assert p.stdout.startswith("HTTP/2 200") and "etag" in p.stdout.lower()


@H2
@pytest.mark.threaded
@pytest.mark.log(r"\[ssl:warn\]")
def test_http2_tls(serve, folder):
    """Many streams in one connection, through mod_ssl (R49)."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", folder + "/key.pem",
                    "-out", folder + "/cert.pem"], check=True, capture_output=True)
    port = httpd.free_port()
    s = serve(CONF + """Listen 127.0.0.1:%d
<VirtualHost 127.0.0.1:%d>
Protocols h2 http/1.1
SSLEngine on
SSLCertificateFile "%s/cert.pem"
SSLCertificateKeyFile "%s/key.pem"
</VirtualHost>
""" % (port, port, folder, folder), modules=("socache_shmcb", "ssl", "http2"), fresh=True)
    base = "https://127.0.0.1:%d" % port
    d = fetch(folder, [base + INFO], "--http2")[1][0]
    assert b'"id": "%s/i/photo.tif"' % base.encode() in d or b'"id":"%s/i/photo.tif"' % base.encode() in d, d
    want = {p: s.get(p).body for p in (TILE, SCALED, STREAM, "/i/photo.jpg/full/90,/0/default.jpg")}
    urls = [p for p in want for _ in range(8)]
    lines, bodies = fetch(folder, [base + p for p in urls], "--http2")
    assert lines == ["2 200"] * len(urls)
    assert bodies == [want[p] for p in urls]


def test_keep_alive(serve):
    """Many answers of all kinds down one connection, HTTP/1.0 as well."""
    s = serve(CONF)
    c = s.connect()
    for path, status in [(TILE, 200), (INFO, 200), ("/i/none.tif/info.json", 404), (SCALED, 200), (STREAM, 200), ("/i/photo.tif", 303),
                         ("/i/photo.tif/full/0,/0/default.jpg", 400), (TILE, 200)] * 3:
        r = c.request("GET", path)
        assert r.status == status and not r.broken, path
        if r["Connection"] == "close":  # httpd ends the connection after a 400
            assert status == 400
            c = s.connect()
    c.close()
    c = s.connect()
    c.sock.sendall(b"GET " + STREAM.encode() + b" HTTP/1.0\r\n\r\n")
    r = c.receive()
    assert r.status == 200 and r.image().size == (2600, 1625)
    c.close()


def test_pipelined(serve):
    s = serve(CONF)
    c = s.connect()
    for p in (TILE, INFO, SCALED):
        c.send("GET", p, keep=True)
    with c.sock.makefile("rb") as f:
        for p in (TILE, INFO, SCALED):
            assert f.readline().startswith(b"HTTP/1.1 200 "), p
            head = dict(x.decode().strip().split(": ", 1) for x in iter(f.readline, b"\r\n"))
            assert f.read(int(head["Content-Length"])) == s.get(p).body
    c.close()


def test_debug_line(serve):
    """LogLevel iip:debug tells one line per answer."""
    s = serve(CONF, loglevel="warn iip:debug", fresh=True)
    s.get(TILE)
    time.sleep(0.1)
    lines = [x for x in s.newlog() if "[iip:" in x]
    assert lines and any("photo.tif" in x for x in lines), lines
    quiet = serve(CONF, loglevel="warn", fresh=True)
    quiet.get(TILE)
    assert not [x for x in quiet.newlog() if "[iip:" in x]
