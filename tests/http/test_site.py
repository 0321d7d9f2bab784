# SPDX-License-Identifier: Apache-2.0
"""A folder of an ordinary site under SetHandler (spec/iiif.md R4a, R12): only pictures are ours, and only beyond their own name."""
import os
import shutil

import pytest
import tifffile
from PIL import Image

from common import LD, links, near, read, refused, steady

CGI = """#!/bin/sh
body="method $REQUEST_METHOD path $PATH_INFO query $QUERY_STRING"
if [ -n "$CONTENT_LENGTH" ]; then body="$body $(head -c "$CONTENT_LENGTH")"; fi
printf 'Content-Type: text/plain\\nX-Script: yes\\nContent-Length: %s\\n\\n%s' "${#body}" "$body"
"""
CONF = """
<Directory "{site}">
    Require all granted
    AllowOverride All
    Options +Indexes +ExecCGI +FollowSymLinks
</Directory>
Alias /with "{site}/with"
Alias /sans "{site}/sans"
"""


def put(path, text, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, mode)


def build(top, data, htaccess):
    put(top + "/index.html", "<html><link rel=stylesheet href=style.css><img src=one.tif></html>\n")
    put(top + "/style.css", "body { color: black }\n" * 400)
    put(top + "/app.js", "var a = 1;\n")
    put(top + "/notes.txt", "just text\n")
    put(top + "/fake.jpg", "no picture at all\n")
    put(top + "/void.tif", "")
    put(top + "/script.cgi", CGI, 0o755)
    put(top + "/.htaccess", "AddHandler cgi-script .cgi\n" + htaccess)
    put(top + "/.dot.html", "dot")
    shutil.copy(data + "/b.tif", top + "/one.tif")
    shutil.copy(data + "/squares.jpg", top + "/two.jpg")
    shutil.copy(data + "/photo.jpg", top + "/three.jpg")
    shutil.copy(data + "/b.tif", top + "/a b%41;+.tif")
    shutil.copy(data + "/b.tif", top + "/.dot.tif")
    put(top + "/list/a.txt", "a")
    shutil.copy(data + "/b.tif", top + "/list/x.tif")
    put(top + "/sub/.htaccess", "Header set X-Nested yes\nErrorDocument 404 nested-missing\n")
    put(top + "/sub/page.html", "<p>sub</p>")
    shutil.copy(data + "/b.tif", top + "/sub/deep.tif")
    put(top + "/closed/.htaccess", "Require all denied\n")
    shutil.copy(data + "/b.tif", top + "/closed/x.tif")
    put(top + "/partly/.htaccess", '<Files "no.tif">\nRequire all denied\n</Files>\n')
    shutil.copy(data + "/b.tif", top + "/partly/no.tif")
    shutil.copy(data + "/b.tif", top + "/partly/yes.tif")
    put(top + "/rules/.htaccess", "RewriteEngine On\nRewriteRule ^pretty/(.*)$ real/$1\n")
    os.makedirs(top + "/rules/real")
    shutil.copy(data + "/b.tif", top + "/rules/real/r.tif")
    for d, _, files in os.walk(top):
        for f in files + ["."]:
            os.utime(os.path.join(d, f), (1700000000, 1700000000))


@pytest.fixture(scope="module")
def site(work, data):
    os.umask(0o022)
    d = work + "/tmp/site-%d" % os.getpid()
    shutil.rmtree(d, ignore_errors=True)
    build(d + "/with", data, "SetHandler iiif-handler\n")
    build(d + "/sans", data, "# nothing more\n")
    for mode in ("file", "redirect", "none"):
        build(d + "/bare_" + mode, data, "SetHandler iiif-handler\nIIIFBare %s\n" % mode)
    yield d
    shutil.rmtree(d, ignore_errors=True)


@pytest.fixture
def s(serve, site):
    more = "".join('Alias /bare_%s "%s/bare_%s"\n' % (m, site, m) for m in ("file", "redirect", "none"))
    return serve(CONF.replace("{site}", site) + more)


PLAIN = """/ /index.html /style.css /app.js /notes.txt /fake.jpg /void.tif /script.cgi /script.cgi?a=b /script.cgi/path/info /script.cgi/full/max/0/default.jpg
/script.cgi/info.json /one.tif /two.jpg /three.jpg /list /list/ /sub/ /sub/page.html /sub/none.html /none.html /none.cgi /.htaccess /sub/.htaccess
/sub/info.json /info.json /sub/full/max/0/default.jpg /full/max/0/default.jpg /.dot.html /.dot.tif /notes.txt/info.json /index.html/full/max/0/default.jpg /fake.jpg/info.json /closed/ /closed/x.tif /closed/none /partly/no.tif
/partly/yes.tif /one.tif?x=1 /a%20b%2541;+.tif /none/info.json.html /style.css?v=2""".split()
DENIED = pytest.mark.log("AH01630|AH01797|AH01276|client denied|AH01264|AH02811")


@pytest.mark.any_mpm
@DENIED
@pytest.mark.parametrize("path", PLAIN)
def test_same_as_without(s, path):
    """Status, headers (but Vary and Date) and bytes as if the handler were not there, for every method and condition."""
    first = s.get("/sans" + path)
    script = path.startswith("/script.cgi")
    asks = [("GET", {}, None), ("HEAD", {}, None), ("OPTIONS", {}, None), ("POST", {}, b"a=1&b=2"), ("GET", {"Range": "bytes=3-9"}, None),
            ("GET", {"Range": "bytes=0-1,5-6"}, None), ("GET", {"Range": "bytes=99999999-"}, None), ("DELETE", {}, None),
            ("GET", {"Origin": "https://x.example"}, None), ("GET", {"Accept": "text/html"}, None),
            ("GET", {"If-Modified-Since": "Sat, 01 Jan 2039 00:00:00 GMT"}, None)]
    if first["ETag"]:
        asks += [("GET", {"If-None-Match": first["ETag"]}, None), ("GET", {"If-Range": first["ETag"], "Range": "bytes=1-2"}, None)]
    for method, headers, body in asks:
        if script and "Range" in headers:
            continue  # by time: mod_cgi's pipe may or may not have ended when the header goes
        off, on = s.request(method, "/sans" + path, headers, body), s.request(method, "/with" + path, headers, body)
        assert off.status == on.status, (method, headers, off, on)
        fix = lambda v: v.replace("/with", "/sans")  # noqa: E731
        a, b = steady(off.headers), [(k, fix(v)) for k, v in steady(on.headers)]
        if "multipart" in (off["Content-Type"] or ""):  # the boundary is drawn at random
            a, b = [x for x in a if x[0] != "content-type"], [x for x in b if x[0] != "content-type"]
            assert len(off.body) == len(on.body)
        else:
            assert off.body == on.body.replace(b"/with", b"/sans"), (method, headers)
        if script:
            a, b = [[h for h in x if h[0] not in ("content-length", "transfer-encoding", "accept-ranges")] for x in (a, b)]
        assert a == b, (method, headers)


def test_the_script_runs(s):
    for path in ("/with/script.cgi", "/with/script.cgi/full/max/0/default.jpg"):
        r = s.request("POST", path, body=b"form=1")
        assert r.status == 200 and r["X-Script"] == "yes" and b"form=1" in r.body and b"#!/bin/sh" not in r.body
    for path in ("/with/script.cgi", "/with/script.cgi/info.json", "/with/script.cgi/", "/with/script.cgi/full/max/0/default.jpg", "/with/script%2Ecgi"):
        for method in ("GET", "POST", "HEAD"):
            assert b"#!/bin/sh" not in s.request(method, path).body


@pytest.mark.any_mpm
def test_mapped_use(s, data):
    """R12: the folders are part of the prefix, the file's name is the identifier."""
    for path in ("/with/one.tif", "/with/sub/deep.tif", "/with/list/x.tif", "/with/partly/yes.tif"):
        r = s.get(path + "/info.json")
        assert r.status == 200, (path, r)
        d = r.json()
        assert d["id"] == s.base + path and (d["width"], d["height"]) == (300, 200)
        r = s.get(path + "/full/max/0/default.png")
        near(r.pixels("RGB"), read(data + "/b.tif"), 0, 0)
        assert links(r)["canonical"] == s.base + path + "/full/max/0/default.png"
        assert s.get(path + "/full/pct:50/0/default.jpg").size == (150, 100)
        assert s.get(path + "/full/^400,/0/default.jpg").size == (400, 267)
        assert s.get(path + "/full/%5E!400,400/!90/gray.png").size == (267, 400)
        refused(s.get(path + "/full/0,/0/default.png"), 400)
        r = s.request("OPTIONS", path + "/info.json")
        assert r.status == 204 and r["Access-Control-Allow-Origin"] == "*"
        refused(s.request("POST", path + "/info.json", body=b""), 405, "method")
    assert s.get("/with/sub/deep.tif/info.json")["X-Nested"] == "yes"


def test_mapped_names(s):
    r = s.get("/with/a%20b%2541;+.tif/info.json")
    assert r.status == 200 and r.json()["id"] == s.base + "/with/a%20b%2541;+.tif"
    assert s.get("/with/a%20b%41;+.tif/info.json").status == 404
    assert s.get("/with//one.tif//info.json").json()["id"] == s.base + "/with/one.tif"
    assert s.get("/with/x/../one.tif/info.json").status == 200
    r = s.get("/with/one.tif/")
    assert r.status in (301, 404)
    if r.status == 301:
        assert r["Location"] == s.base + "/with/one.tif"


@DENIED
def test_mapped_refusals(s):
    for path, status in (("/with/none.tif/info.json", 404), ("/with/none.tif/full/max/0/default.jpg", 404), ("/with/closed/x.tif/info.json", 403),
                         ("/with/closed/none.tif/info.json", (403, 404)), ("/with/partly/no.tif/info.json", 403),
                         ("/with/partly/no.tif/full/max/0/default.jpg", 403), ("/with/.dot.tif/info.json", (403, 404)),
                         ("/with/.htaccess/info.json", (403, 404)), ("/with/sub/info.json", 404), ("/with/info.json", 404),
                         ("/with/full/max/0/default.jpg", 404), ("/with/sub/full/max/0/default.jpg", 404)):
        r = s.get(path)
        want = status if isinstance(status, tuple) else (status,)
        assert r.status in want, (path, r)
        assert b"iiif.io" not in r.body


def test_mapped_encoded_slash(s):
    """Without IIPRoot it is httpd's to say, and by default it says 404."""
    assert s.get("/with/sub%2Fdeep.tif/info.json").status == 404


def test_mapped_rewrite(s):
    """mod_rewrite at work: the tail still counts."""
    r = s.get("/with/rules/pretty/r.tif/full/30,/0/default.jpg")
    assert r.status == 200 and r.size == (30, 20), r


@pytest.mark.parametrize("accept,info", [(LD, True), ("application/json", True), (LD + ', text/html;q=0.5', True), ("*/*", False), (None, False),
                                         ("text/html,image/avif,*/*;q=0.8", False), ("image/*,*/*;q=0.5", False),
                                         ("application/json;q=0.1,image/jpeg", False), ("application/json;q=0", False)])
def test_bare_file(s, data, accept, info):
    for folder in ("/with", "/bare_file"):
        r = s.get(folder + "/two.jpg", {"Accept": accept})
        if info:
            assert r.status == 303 and r["Location"] == s.base + folder + "/two.jpg/info.json"
            assert "Accept" in r["Vary"]
        else:
            assert r.status == 200 and r["Content-Type"] == "image/jpeg"
            assert r.body == open(data + "/squares.jpg", "rb").read()
            assert r["Accept-Ranges"] == "bytes" and "Accept" in r["Vary"]


def test_bare_redirect(s):
    r = s.get("/bare_redirect/two.jpg")
    assert r.status == 303 and r["Location"] == s.base + "/bare_redirect/two.jpg/info.json"
    assert r["Access-Control-Allow-Origin"] == "*"
    assert s.get("/bare_redirect/index.html").status == 200
    assert s.get("/bare_redirect/two.jpg/full/10,/0/default.jpg").status == 200


def test_bare_none(s):
    for headers in ({}, {"Range": "bytes=0-9"}, {"Accept": "image/jpeg"}, {"Accept": LD}, {"If-None-Match": "*"}):
        refused(s.get("/bare_none/two.jpg", headers), 403, "forbidden")
    assert s.head_of("/bare_none/two.jpg").status == 403
    assert s.get("/bare_none/two.jpg/full/10,/0/default.jpg").status == 200
    assert s.get("/bare_none/two.jpg/info.json").status == 200
    assert s.get("/bare_none/style.css").status == 200
    assert s.get("/bare_none/script.cgi")["X-Script"] == "yes"


@pytest.mark.log("AH00037")
def test_links_are_refused_without_option(serve, folder, data):
    os.makedirs(folder + "/pics")
    shutil.copy(data + "/b.tif", folder + "/elsewhere.tif")
    os.symlink("../elsewhere.tif", folder + "/pics/l.tif")
    conf = """AllowEncodedSlashes NoDecode
<Directory "%s">
Require all granted
Options %s
SetHandler iiif-handler
</Directory>
Alias /p "%s/pics"
"""
    s = serve(conf % (folder, "None", folder), fresh=True)
    for tail in ("/info.json", "/full/max/0/default.jpg", ""):
        assert s.get("/p/l.tif" + tail).status == 403
    s = serve(conf % (folder, "FollowSymLinks", folder), fresh=True)
    assert s.get("/p/l.tif/info.json").status == 200


def test_server_and_location_without_root(serve, data):
    """SetHandler in a Location without IIPRoot over a mapped folder."""
    s = serve("""AllowEncodedSlashes NoDecode
Alias /p "{data}"
<Directory "{data}">
Require all granted
</Directory>
<Location /p>
SetHandler iiif-handler
</Location>
""")
    assert s.get("/p/b.tif/info.json").json()["id"] == s.base + "/p/b.tif"
    assert s.get("/p/names/sub/b.tif/info.json").json()["id"] == s.base + "/p/names/sub/b.tif"
    assert s.get("/p/b.tif").body == open(data + "/b.tif", "rb").read()
    with tifffile.TiffFile(data + "/squares.tif") as t:
        assert s.get("/p/squares.tif/info.json").json()["width"] == t.pages[0].imagewidth


def test_files_match(serve, data):
    """The documentation's form for folders with scripts."""
    s = serve("""AllowEncodedSlashes NoDecode
Alias /p "{data}"
<Directory "{data}">
Require all granted
<FilesMatch "\\.(tif|jpg)$">
SetHandler iiif-handler
</FilesMatch>
</Directory>
""")
    r = s.get("/p/b.tif/full/max/0/default.png")
    assert r.status == 200 and Image.open(data + "/b.tif").size == r.size
    assert s.get("/p/squares.png").body == open(data + "/squares.png", "rb").read()
    assert s.get("/p/squares.png/info.json").status == 404
