# SPDX-License-Identifier: Apache-2.0
"""Nothing outside the root, nothing past httpd's own access rules (spec/security.md 2.1, 3; architecture 3.3)."""
import base64
import hashlib
import os
import shutil
import socket
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

import httpd
from common import location, refused, steady

SECRET = (201, 33, 97)  # the secret picture is of this one colour


def secret(path):
    Image.fromarray(np.tile(np.array(SECRET, np.uint8), (40, 60, 1))).save(path, compression="tiff_deflate")


@pytest.fixture
def tree(folder, data):
    """root/ to serve, a second root, and secrets beside them."""
    root = folder + "/root"
    os.makedirs(root + "/sub/deep")
    os.makedirs(folder + "/other")
    shutil.copy(data + "/b.tif", root + "/ok.tif")
    shutil.copy(data + "/b.tif", root + "/sub/ok.tif")
    secret(folder + "/secret.tif")
    secret(folder + "/other/theirs.tif")
    secret(root + "/.hidden.tif")
    os.makedirs(root + "/.git")
    secret(root + "/.git/x.tif")
    open(root + "/.htaccess", "w").write("# nothing\n")
    open(folder + "/secret.txt", "w").write("the secret text\n")
    os.makedirs(root + "/dir.tif")
    os.symlink("../secret.tif", root + "/link.tif")
    os.symlink("../../secret.tif", root + "/sub/link.tif")
    os.symlink(folder + "/secret.tif", root + "/absolute.tif")
    os.symlink("..", root + "/up")
    os.symlink(folder, root + "/absup")
    os.symlink("/", root + "/slash")
    os.symlink("link.tif", root + "/twice.tif")
    os.symlink("loop.tif", root + "/loop.tif")
    os.symlink("nothing", root + "/dangling.tif")
    os.symlink("/proc/self/root" + folder + "/secret.tif", root + "/magic.tif")
    os.symlink("/proc/self/fd/0", root + "/fd.tif")
    os.symlink("../other/theirs.tif", root + "/theirs.tif")
    os.symlink("ok.tif", root + "/inside.tif")
    os.symlink("../ok.tif", root + "/sub/inside.tif")
    os.symlink("sub", root + "/alias")
    os.mkfifo(root + "/fifo.tif")
    with socket.socket(socket.AF_UNIX) as s:
        here = os.getcwd()
        os.chdir(root)  # the name of a socket must be short
        s.bind("socket.tif")
        os.chdir(here)
    if httpd.ROOT:
        os.mknod(root + "/null.tif", 0o666 | 0o020000, os.makedev(1, 3))
        os.mknod(root + "/zero.tif", 0o666 | 0o020000, os.makedev(1, 5))
        os.mknod(root + "/tty.tif", 0o666 | 0o020000, os.makedev(5, 0))
    return folder


def conf(tree):
    return (location("/i", tree + "/root") + location("/follow", tree + "/root", ).replace('/root"', '/root" follow')
            + location("/o", tree + "/other") + location("/abs", tree + "/root").replace('/root"', '/root" absolute'))


TAILS = ["/info.json", "/full/max/0/default.png", ""]
OUT = """link.tif sub/link.tif sub%2Flink.tif absolute.tif up/secret.tif up%2Fsecret.tif absup/secret.tif twice.tif loop.tif dangling.tif magic.tif
fd.tif theirs.tif up/root/ok.tif slash/etc/passwd alias/link.tif up up/ absup slash""".split()
SPECIAL = """fifo.tif socket.tif null.tif zero.tif tty.tif dir.tif sub .hidden.tif .htaccess .git/x.tif .git%2Fx.tif sub/.. none.tif ok.tif%2F
%2E htaccess%00 ok.tif%01 ok.tif%7F ok.tif%0A""".split()


def spellings(tree):
    up = ["..", "%2e%2e", "%2E%2E", ".%2e", "%2e."]
    out = []
    for u in up:
        for sl in ("/", "%2F", "%2f", "%5C", "\\", "%255C", "%252F", "//", "%2F%2F"):
            for f in ("secret.tif", "secret.txt"):
                out += [u + sl + f, "sub" + sl + u + sl + u + sl + f, "ok.tif" + sl + u + sl + u + sl + f, "%2F" + u + sl + f,
                        "sub%2F" + u + "%2F" + u + sl + f]
    out += ["..;/secret.tif", "....//secret.tif", "..../secret.tif", "%c0%ae%c0%ae/secret.tif", "..%c0%afsecret.tif", "..%c1%9csecret.tif",
            "%ef%bc%8e%ef%bc%8e%2Fsecret.tif", "..%252Fsecret.tif", "..%25252Fsecret.tif", "%252e%252e%252Fsecret.tif",
            "..%u2215secret.tif", "%u002e%u002e/secret.tif", "..%00/secret.tif", "..%2Fsecret.tif%00", "..%2Fsecret.tif%00.jpg",
            "..%0D%0A/secret.tif", "~root", "~", "C:%5Csecret.tif", "C:secret.tif", "file:%2F%2F" + tree.replace("/", "%2F") + "%2Fsecret.tif",
            "http:%2F%2F127.0.0.1%2Fok.tif", "http://127.0.0.1/ok.tif", "%2F" + tree.strip("/").replace("/", "%2F") + "%2Fsecret.tif",
            tree.strip("/") + "/secret.tif", "/" + tree + "/secret.tif", "%2Fetc%2Fpasswd", "proc%2Fself%2Fenviron"]
    return out


def harmless(r, tree, what):
    assert r.status in (301, 303, 400, 403, 404), (what, r)
    assert b"secret" not in r.body and b"root:" not in r.body, (what, r)
    assert tree.encode() not in r.body and tree not in str(r.headers.items()), (what, r)
    if r["Content-Type"] and r["Content-Type"].startswith("image/"):
        assert not (r.pixels("RGB")[0, 0] == SECRET).all(), what
    assert r.status not in (301, 303), (what, "a redirect says that it exists")


@pytest.mark.any_mpm
@pytest.mark.log("AH10244")  # httpd: invalid URI path
def test_ways_up(serve, tree):
    s = serve(conf(tree), fresh=True)
    for name in spellings(tree):
        for tail in TAILS:
            r = s.get("/i/" + name + tail)
            harmless(r, tree, name + tail)


@pytest.mark.any_mpm
def test_one_answer_for_all(serve, tree):
    """One 404, the same bytes and headers, for all that must not be seen (security.md 5)."""
    s = serve(conf(tree), fresh=True)
    for tail in TAILS:
        model = refused(s.get("/i/none.tif" + tail), 404, "not-found")
        for name in OUT + SPECIAL + ["ok.tif%00", "%00", "none%00.tif"]:
            r = s.get("/i/" + name + tail)
            if name in ("sub/..", "%2E"):  # httpd has made it "" before
                assert r.status in (400, 404), (name, r)
                continue
            if name.endswith(("/", "%2F")) and not tail:
                assert r.status in (301, 404), (name, r)
                continue
            assert r.status == 404, (name, tail, r)
            refused(r, 404, "not-found")
            assert r.body == model.body and steady(r.headers) == steady(model.headers), (name, tail)


def test_way_out_and_back(serve, tree):
    """A link that leaves the root is refused even if what it means lies beneath, also when this child has read that (security.md 2.3)."""
    os.symlink(tree + "/root/ok.tif", tree + "/root/home.tif")
    s = serve(conf(tree), fresh=True)
    for _ in range(2):
        for name in ("home.tif", "up/root/ok.tif", "absup%2Froot%2Fok.tif"):
            for tail in TAILS + ["/0,0,64,64/max/0/default.jpg"]:
                refused(s.get("/i/" + name + tail), 404, "not-found")
        for tail in TAILS + ["/0,0,64,64/max/0/default.jpg"]:
            assert s.get("/i/ok.tif" + tail).status in (200, 303)


@pytest.mark.any_mpm
def test_special_files_do_not_hold(serve, tree):
    s = serve(conf(tree), fresh=True)
    for _ in range(40):  # more than there are threads: none may hang in a FIFO
        assert s.get("/i/fifo.tif/info.json", timeout=5).status == 404
        assert s.get("/follow/fifo.tif/info.json", timeout=5).status == 404


def test_links_inside(serve, tree):
    s = serve(conf(tree), fresh=True)
    for name in ("inside.tif", "sub/inside.tif", "alias/ok.tif", "alias%2Finside.tif"):
        assert s.get("/i/%s/full/max/0/default.png" % name).size == (300, 200), name


def test_follow(serve, tree):
    """The administrator's word: links out are followed, all else is as before."""
    s = serve(conf(tree), fresh=True)
    for name in ("link.tif", "absolute.tif", "up/secret.tif", "theirs.tif", "twice.tif", "inside.tif"):
        assert s.get("/follow/%s/info.json" % name).status == 200, name
    for name in ("loop.tif", "dangling.tif", "fd.tif", "null.tif", "dir.tif", ".hidden.tif", "..%2Fsecret.tif", "sub%2F..%2F..%2Fsecret.tif"):
        refused(s.get("/follow/%s/info.json" % name), 404, "not-found")


def test_absolute(serve, tree):
    s = serve(conf(tree), fresh=True)
    for name in ((tree + "/root/ok.tif").replace("/", "%2F"), "ok.tif"):
        assert s.get("/abs/%s/info.json" % name).status == 200, name
    for name in ((tree + "/secret.tif").replace("/", "%2F"), (tree + "/root/../secret.tif").replace("/", "%2F"),
                 (tree + "/root/link.tif").replace("/", "%2F"), (tree + "/rootx").replace("/", "%2F")):
        refused(s.get("/abs/%s/info.json" % name), 404, "not-found")
    refused(s.get("/i/%s/info.json" % (tree + "/root/ok.tif").replace("/", "%2F")), 404, "not-found")


def test_other_roots_cache(serve, tree):
    """security.md 3.6: what one root has in the caches does not answer for a link in another."""
    s = serve(conf(tree), fresh=True)
    for tail in ("/info.json", "/full/max/0/default.png", "/full/10,/0/default.jpg"):
        for _ in range(3):
            assert s.get("/o/theirs.tif" + tail).status == 200
            refused(s.get("/i/theirs.tif" + tail), 404, "not-found")
            assert s.get("/follow/link.tif" + tail).status == 200
            refused(s.get("/i/link.tif" + tail), 404, "not-found")
            etag = s.get("/o/theirs.tif" + tail)["ETag"]
            refused(s.get("/i/theirs.tif" + tail, {"If-None-Match": etag}), 404, "not-found")
            refused(s.get("/i/theirs.tif" + tail, {"If-None-Match": "*"}), 404, "not-found")


def test_permission(serve, tree):
    """There, but not readable by the server: 403; and at once, whatever is cached."""
    s = serve(conf(tree), fresh=True)
    path = tree + "/root/ok.tif"
    assert s.get("/i/ok.tif/full/10,/0/default.jpg").status == 200
    os.chmod(path, 0)
    r = s.get("/i/ok.tif/full/11,/0/default.jpg")
    refused(r, 403, "forbidden")
    refused(s.get("/i/ok.tif/info.json"), 403, "forbidden")
    refused(s.get("/i/ok.tif/full/10,/0/default.jpg"), 403, "forbidden")
    os.chmod(path, 0o644)
    assert s.get("/i/ok.tif/full/10,/0/default.jpg").status == 200


def test_secrets_text_is_no_picture(serve, tree):
    s = serve(location("/x", tree), fresh=True)
    r = refused(s.get("/x/secret.txt/info.json"), 415, "format")
    assert b"secret" not in r.body


# ---- the access bypass (R11)

BYPASS = (location("/i", "{data}/names") + """
<Location /i/private>
    Require all denied
</Location>
<Location "/i/private area">
    Require all denied
</Location>
<Location /i/local>
    Require ip 192.0.2.1
</Location>
<Location /i/open>
    Require ip 127.0.0.1
</Location>
<Location /i/auth>
    AuthType Basic
    AuthName pictures
    AuthBasicProvider file
    AuthUserFile {dir}/htdocs/../users
    Require valid-user
</Location>
<LocationMatch "^/i/sub/de+p/">
    Require all denied
</LocationMatch>
<Location /i/sub>
    Header set X-Section sub
</Location>
""")


def bypass(serve):
    s = serve(BYPASS)
    # user u, password p, hashed as htpasswd -s does
    open(s.dir + "/users", "w").write("u:{SHA}%s\n" % base64.b64encode(hashlib.sha1(b"p").digest()).decode())
    return s


PRIVATE = """private/x.tif private%2Fx.tif private%2fx.tif %70rivate%2Fx.tif %70rivate/x.tif private//x.tif private%2F%2Fx.tif private%2F.%2Fx.tif
private%2F/x.tif private/%2Fx.tif sub/../private/x.tif sub%2F..%2Fprivate%2Fx.tif a%2F..%2Fprivate%2Fx.tif sub/..%2Fprivate%2Fx.tif sub%2F../private/x.tif
./private/x.tif .%2Fprivate%2Fx.tif %2Fprivate%2Fx.tif //private/x.tif //private%2Fx.tif %2e/private/x.tif private%2Fsub%2F..%2Fx.tif
private/sub/../x.tif sub/%2e%2e/private/x.tif sub%2F%2e%2e%2Fprivate%2Fx.tif private%252Fx.tif private%5Cx.tif priv%61te%2Fx.tif
private%20area/x.tif private%20area%2Fx.tif private%20area%2fx.tif %70rivate%20area%2Fx.tif private+area%2Fx.tif
local/x.tif local%2Fx.tif local%2fx.tif loc%61l%2Fx.tif sub%2F..%2Flocal%2Fx.tif
sub/deep/er/b.tif sub%2Fdeep%2Fer%2Fb.tif sub/deep%2Fer%2Fb.tif sub%2Fdeep/er/b.tif sub/deep%2Fer/b.tif""".split()


@pytest.mark.any_mpm
@pytest.mark.log("AH01630|AH01797|client denied")
def test_private_is_private(serve):
    s = bypass(serve)
    for name in PRIVATE:
        for tail in TAILS + ["/full/10,/0/default.jpg", "/full/max/0/default.jpg?x=%2F", "/0%2C0,9,9/max/0/default.png"]:
            for path in ("/i/", "//i//", "/x/../i/", "/%69/", "/i/./"):
                r = s.get(path + name + tail)
                assert r.status in (400, 403, 404), (path + name + tail, r)
                assert b"iiif.io" not in r.body
            r = s.get("http://127.0.0.1/i/" + name + tail)
            assert r.status in (400, 403, 404), (name, r)


@pytest.mark.log("AH01630|AH01797|client denied")
def test_the_plain_spellings_are_403(serve):
    s = bypass(serve)
    for name in ("private/x.tif", "private%2Fx.tif", "private%2fx.tif", "private%20area%2Fx.tif", "local%2Fx.tif", "sub%2Fdeep%2Fer%2Fb.tif"):
        assert s.get("/i/%s/info.json" % name).status == 403, name


def test_what_is_open_stays_open(serve):
    s = bypass(serve)
    for name in ("open/x.tif", "open%2Fx.tif", "sub%2Fb.tif", "sub/b.tif", "a%20b.tif"):
        assert s.get("/i/%s/info.json" % name).status == 200, name
        assert s.get("/i/%s/full/10,/0/default.jpg" % name).status == 200, name


@pytest.mark.log("AH01617|AH01618|AH01627|authentication failure|password mismatch")
def test_login(serve):
    """401 by both spellings, 200 with the password, and then no shared cache may keep it (R48, R52, R54)."""
    s = bypass(serve)
    good = {"Authorization": "Basic " + base64.b64encode(b"u:p").decode()}
    for name in ("auth/x.tif", "auth%2Fx.tif"):
        for tail in ("/info.json", "/full/10,/0/default.jpg"):
            r = s.get("/i/" + name + tail)
            assert r.status == 401, (name, r)
            assert "WWW-Authenticate" in r.headers, name
            r = s.get("/i/" + name + tail, {"Authorization": "Basic " + base64.b64encode(b"u:wrong").decode()})
            assert r.status == 401, (name, r)
            r = s.get("/i/" + name + tail, good)
            assert r.status == 200, (name, r)
            assert r["Cache-Control"].startswith("private, "), (name, r["Cache-Control"])
            n = s.get("/i/" + name + tail, {"If-None-Match": r["ETag"]})
            assert n.status == 401
            n = s.get("/i/" + name + tail, dict(good, **{"If-None-Match": r["ETag"]}))
            assert n.status == 304
    r = s.get("/i/open/x.tif/info.json")
    assert not r["Cache-Control"].startswith("private")


# ---- the forms of AllowEncodedSlashes


@pytest.mark.parametrize("allow", ["Off", "On", "NoDecode"])
def test_allow_encoded_slashes_with_root(serve, allow):
    """Under IIPRoot encoded slashes work whatever the setting; %252F is three characters of the name."""
    s = serve("AllowEncodedSlashes %s\n" % allow + location("/i", "{data}/names"))
    for name, status in (("sub%2Fb.tif", 200), ("sub/b.tif", 200), ("sub%252Fb.tif", 404), ("sl%252Fash.tif", 200), ("sl%2Fash.tif", 404),
                         ("a%20b.tif", 200), ("%2541.tif", 200), ("%41.tif", 404), ("sub%2Fdeep/er%2Fb.tif", 200)):
        r = s.get("/i/%s/info.json" % name)
        assert r.status == status, (name, r)
        assert s.get("/i/%s/full/10,/0/default.jpg" % name).status == status, name


MAPPED = """AllowEncodedSlashes %s
Alias /p {data}/names
<Directory {data}/names>
Require all granted
SetHandler iiif-handler
</Directory>
<Location /p/private>
Require all denied
</Location>
<Directory "{data}/names/private area">
Require all denied
</Directory>
<Location /p/local>
Require ip 192.0.2.1
</Location>
<LocationMatch "^/p/sub/de+p/">
Require all denied
</LocationMatch>
"""


@pytest.mark.log("AH10244")  # httpd: invalid URI path
@pytest.mark.parametrize("allow,encoded", [("Off", 404), ("On", 200), ("NoDecode", 200)])
@pytest.mark.log("AllowEncodedSlashes|AH01630|AH01797")
def test_allow_encoded_slashes_without_root(serve, allow, encoded):
    s = serve(MAPPED % allow)
    assert s.get("/p/sub/b.tif/info.json").status == 200
    assert s.get("/p/a%20b.tif/info.json").status == 200
    assert s.get("/p/%2541.tif/info.json").status == 200
    assert s.get("/p/sl%252Fash.tif/info.json").status == 200
    for tail in ("/info.json", "/full/10,/0/default.jpg"):
        r = s.get("/p/sub%2Fb.tif" + tail)
        assert r.status == encoded, r
    for name in ("..%2F..%2Fsecret.tif", "sub%2F..%2F..%2Fa.tif", "%2e%2e%2Fa.tif", "..%2Fa.tif", "sub%2F..%2F..%2F..%2Fa.tif"):
        assert s.get("/p/%s/info.json" % name).status in (400, 403, 404), name
    for name in PRIVATE:
        for tail in TAILS + ["/full/10,/0/default.jpg"]:
            r = s.get("/p/" + name + tail)
            assert r.status in (400, 403, 404), (name + tail, r)


def test_percent_2f_elsewhere_is_httpds(serve):
    """The hook acts on paths of a Location with IIPRoot alone."""
    s = serve(location("/i", "{data}/names"))
    os.makedirs(s.dir + "/htdocs/d", exist_ok=True)
    open(s.dir + "/htdocs/d/x.txt", "w").write("x")
    r = s.get("/d%2Fx.txt")
    assert r.status == 404 and r.error is None
    assert s.get("/d/x.txt").body == b"x"
    assert s.get("/d/%78.txt").body == b"x"


# ---- text of clients in headers and logs


@pytest.mark.parametrize("text", ["%0d%0aX-Evil:%20yes", "%0aX-Evil:yes", "%22%3E%3Cscript%3E", "%C2%85X-Evil", "%E2%80%A8", "%25n%25s%25x", "%3C/script%3E"])
def test_marker_strings(serve, text):
    s = serve(location("/i", "{data}/names"))
    for target in ("/i/%s.tif/info.json", "/i/%s.tif", "/i/b.tif/%s/max/0/default.jpg", "/i/sub%%2Fb.tif/full/max/0/default.jpg?download=%s",
                   "/i/sub%%2Fb.tif/full/max/0/%s.jpg", "/i/sub%%2Fb.tif/full/max/0/default.%s", "/i/%s"):
        r = s.get(target % text)
        assert "X-Evil" not in r.headers and b"X-Evil" not in r.body and b"<script>" not in r.body.lower()
        for k, v in r.headers.items():
            assert "<script" not in v.lower() and "\r" not in v and "\n" not in v
    assert "\nX-Evil" not in s.logtext()


def test_hard_names_in_answers(serve):
    """Quotes, brackets and the like in a file's own name: JSON stays JSON, headers stay headers."""
    s = serve(location("/i", "{data}/names"))
    for name in os.listdir(os.path.join(httpd.TOP, "build", "data", "names")):
        q = quote(name, safe="")
        r = s.get("/i/%s/info.json" % q)
        if r.status != 200:
            continue
        r.json()
        r = s.get("/i/%s/full/10,/0/default.jpg?download" % q)
        disposition = r["Content-Disposition"]
        assert disposition.startswith("attachment; filename=\"") and disposition.endswith('_10x7.jpg"')
        inner = disposition.split('"')[1]
        assert all(c.isalnum() and ord(c) < 128 or c in "._-" for c in inner), disposition
