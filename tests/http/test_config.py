# SPDX-License-Identifier: Apache-2.0
"""Every directive in every scope, bad values, warnings at start (architecture 8; issue 2; spec/security.md 2.8, 6)."""
import os
import re
import shutil

import pytest

import httpd
from common import location, refused

ROW = re.compile(r'X\(((?:II|JP)\w+), \w+, (\w+), ([SDHL]), "([^"]*)",\s*[NK],\s*"([^"]*)"')
with open(os.path.join(httpd.TOP, "src", "settings.h")) as _f:
    ROWS = {m[0]: m for m in ROW.findall(_f.read())}  # name -> name, kind, scope, default, arguments
SAMPLE = {"IIPRoot": "{data}", "IIPSuffix": ".tif", "IIIFBare": "file", "IIPQuality": "jpeg 80", "IIPBaseURL": "https://img.example.org/x",
          "IIPTrustedProxy": "10.0.0.0/8 192.0.2.7", "IIPMaxDecodes": "2 8", "IIPThreads": "2", "IIPWatermark": "/marks/m.png 0.5", "IIIFExtraInfo": "'{\"rights\": \"x\"}'", "IIPCopyright": '"(c) A & B, 1999"',
          "IIPJobSourceRoot": "{data}", "IIPJobDestRoot": "{data}", "IIPJobCAFile": "{data}/ca.pem", "IIPJobUserAgent": "a/1",
          "IIPJobCallbackSecret": "{data}/secret", "IIPJobPlaceholderText": '"Please wait"', "IIPJobFailureText": '""',
          "IIPJobPlaceholderFile": "{data}/b.tif", "IIPJobSpool": "/var/spool/iip", "IIPJobWorkers": "2",
          "IIPThumbRoot": "{data}", "IIPThumbKey": os.path.join(httpd.TOP, "tests", "data", "thumb.keys"), "IIPThumbPreset": "small rs:fit:300:300/q:70",
          "IIPMemcached": "127.0.0.1:11211 [::1] localhost:1", "IIPMemcachedSecret": "/etc/iip.secret",
          "JPIPLinkRoot": "{data}", "IIPStateDir": "state", "JPIPSessions": "shmcb:jpip(1048576)"}
BAD = {
    "IIPRoot": ["", "{data} sideways"],
    "IIIFBare": ["", "maybe", "FILE please"],
    "IIPSuffix": ["", "a/b", "a b", '"%s"' % ("x" * 65), '"a\\b"'],
    "IIPSequencePattern": ["", "/", "_ _", '"%s"' % ("x" * 65)],
    "IIPQuality": ["", "jpeg", "jpeg 0", "jpeg 101", "jpeg x", "bmp 5", "png 10", "png -1", "jpeg 80 80", "80", "jp2 19", "avif 101", "pdf 0"],
    "IIPTIFFCompression": ["", "zip", "lzw 5"],
    "IIPProfile": ["", "keep"],
    "IIPJPEGProgressive": ["", "yes", "On Off"],
    "IIPKeepDepth": ["", "8", "On Off"],
    "IIPCopyright": ["", '"a" "b"', '"%s"' % ("x" * 1100)],
    "IIPMaxICC": ["", "-1", "x", "1.5K", "99999999999999999999"],
    "IIPMaxLayers": ["", "0", "-1", "some", "half 2", "2x", "70000"],
    "IIPBackground": ["", "fff", "12345", "gggggg", "#ffffff00", "0x1234", "1234567"],
    "IIPWatermark": ["", "mark.png", "/m.png 2", "/m.png -1", "/m.png 1 x", "/m.png 1 1 1", "/m.png nan"],
    "IIPInterpolation": ["", "cubic"],
    "IIPUpscaling": ["", "Perhaps"],
    "IIPPassthrough": ["", "2"],
    "IIPCacheControl": ["", '"a" "b"'],
    "IIPCORS": [""],
    "IIPBaseURL": ["", "ftp://x.example", "x.example", "javascript:alert(1)", "https://", '"https://a b"'],
    "IIPTrustedProxy": ["", "nonsense", "10.0.0.0/99", "300.1.1.1"],
    "IIIFVersions": ["", "4", "3 3", "x", "0", "2.1.1 a"],
    "IIIFDelimiter": ["", "#", ";;"],
    "IIIFLiteralSlash": ["", "Yes please"],
    "IIIFExtensions": ["", "Some"],
    "IIIFRestrictTo": ["", "tile", "tiles sizes"],
    "IIIFExtraInfo": ["", "x", "'[1]'", "'{\"a\":1'", "'{\"a\":01}'", "'{\"width\":5}'", "'{\"@context\":5}'", "'{\"\\u0069d\":5}'",
                      "'{\"a\":%s1%s}'" % ("[" * 40, "]" * 40), "'{\"a\":\"%s\"}'" % ("x" * 16400)],
    "IIPMaxSize": ["", "-1", "x", "500 x", "1 2 3", "99999999999999999999"],
    "IIPMaxArea": ["", "-1", "x", "5 5", "99999999999999999999"],
    "IIPMaxPixels": ["", "-1", "x"],
    "IIPMaxMemory": ["", "-1", "x", "5X"],
    "IIPMaxPerClient": ["", "-1", "x", "1 2"],
    "IIPStatus": ["", "maybe"],
    "IIPTimeout": ["", "-1", "x", "5y", "99999999999999999999s"],
    "IIPThreads": ["", "x", "-1", "1 2"],
    "IIPMaxDecodes": ["", "0", "-1", "x", "1 x", "1 2 3"],
    "IIPCacheSize": ["", "-1", "x", "1M x", "1 2 3"],
    "IIPMetadataCache": ["", "-1", "x", "1 x", "1 2 3"],
    "IIPThumbRoot": ["", "{data} sideways"],
    "IIPThumbKey": ["", "/nowhere/at/all", "a b", os.path.join(httpd.TOP, "README.md")],
    "IIPThumbPreset": ["", "small", "a/b w:5", "small w", "small nonsense:1", "small w:5/", "small pr:other", "small w:-1", "small w:5 h:5"],
    "IIPMemcached": ["", "11211", "a:b:c", "host:99999", "fe80::1%eth0"],
    "IIPMemcachedClient": ["", "redis", "apr apr"],
    "IIPMemcachedTTL": ["", "-1", "x", "1y"],
    "IIPMemcachedDeadline": ["", "-1", "20us", "1 2"],
    "IIPMemcachedSecret": ["", "a b"],
    "IIPJobs": ["", "maybe"],
    "IIPJobRetries": ["", "-1", "x"],
    "IIPJobMaxRequest": ["", "-1", "x"],
    "IIPJobTransferTimeout": ["", "-1", "5y"],
    "IIPJobMaxSource": ["", "-1", "x"],
    "IIPJobMaxPixels": ["", "-1", "x"],
    "IIPJobSourceRoot": ["", "a b"],
    "IIPJobDestRoot": ["", "a b"],
    "IIPJobSourceSchemes": ["", "gopher", "http gopher"],
    "IIPJobDestSchemes": ["", "HTTP"],
    "IIPJobSourceHosts": ["", "a*b", "*.a.*"],
    "IIPJobDestHosts": ["", ".example.org"],
    "IIPJobAllowNet": ["", "10.0.0.0/33", "10.0.0", "x"],
    "IIPJobDenyNet": ["", "::1/129", "127.1"],
    "IIPJobPorts": ["", "0", "65536", "80 x", "-1"],
    "IIPJobFTPSecure": ["", "perhaps"],
    "IIPJobCAFile": ["", "a b"],
    "IIPJobUserAgent": ["", "a b", '"%s"' % ("x" * 1100)],
    "IIPJobCallbackSecret": ["", "a b"],
    "IIPJobStrictStatus": ["", "2"],
    "IIPJobAllowAnonymous": ["", "perhaps"],
    "IIPJobPlaceholderText": ["a b"],
    "IIPJobFailureText": ["a b"],
    "IIPJobPlaceholderColor": ["", "fff", "ffffff 000000 000000", "red"],
    "IIPJobPlaceholderFile": ["", "a b"],
    "IIPJobSpool": ["", "a b"],
    "IIPJobWorkers": ["", "-1", "x"],
    "IIPJobMaxQueue": ["", "-1", "x"],
    "IIPJobTimeout": ["", "-1", "5y"],
    "IIPJobMemory": ["", "-1", "x"],
    "IIPJobKeep": ["", "1d", "1d 2d 3d", "x 1d"],
    "JPIPTimeout": ["", "-1", "x", "5y"],
    "JPIPMaxResponse": ["", "-1", "x", "5X"],
    "JPIPLinkRoot": ["", "relative/path", "/a b"],
    "JPIPRaw": ["", "2", "On Off"],
    "IIPStateDir": ["", "a b"],
    "JPIPIndexAge": ["", "-1", "x", "5y", "1d 2d"],
    "JPIPSessions": ["", "nosuch", "nosuch:x", "dbm:x", "a b"],
}


def value(name):
    return ROWS[name][3] or SAMPLE[name]


def test_the_list_was_read():
    assert len(ROWS) >= 23 and {r[2] for r in ROWS.values()} == set("SDHL")


PLACES = {
    "server": "%s",
    "vhost": "<VirtualHost *:81>\n%s\n</VirtualHost>",
    "directory": "<Directory /srv>\n%s\n</Directory>",
    "location": "<Location /x>\n%s\n</Location>",
    "locationmatch": "<LocationMatch ^/x>\n%s\n</LocationMatch>",
    "regex location": "<Location ~ ^/x>\n%s\n</Location>",
    "files": "<Files x.tif>\n%s\n</Files>",
    "if": '<If "true">\n%s\n</If>',
    "vhost location": "<VirtualHost *:81>\n<Location /x>\n%s\n</Location>\n</VirtualHost>",
}
ALLOWED = {"S": {"server"}, "L": {"location", "vhost location"}, "D": set(PLACES), "H": set(PLACES)}


@pytest.mark.parametrize("name", sorted(ROWS))
def test_scopes(configtest, name):
    """Where a directive may stand; anything else stops the server, with a message that names the directive."""
    scope = ROWS[name][2]
    for place, form in PLACES.items():
        rc, out = configtest(form % ("%s %s" % (name, value(name))))
        if place in ALLOWED[scope]:
            assert rc == 0, (place, out)
        elif scope in "SL":
            assert rc != 0 and name in out, (place, out)


@pytest.mark.parametrize("name", sorted(ROWS))
@pytest.mark.log("not allowed here|not allowed in|IIP|IIIF|AH00526|AH00524")
def test_in_htaccess(serve, folder, data, name):
    """H rows only; everything else is a configuration error of that folder, a 500 by httpd."""
    shutil.copy(data + "/b.tif", folder + "/b.tif")
    open(folder + "/.htaccess", "w").write("SetHandler iiif-handler\n%s %s\n" % (name, value(name).replace("{data}", data)))
    s = serve('<Directory "%s">\nAllowOverride All\nRequire all granted\n</Directory>\nAlias /t "%s"\n' % (folder, folder), fresh=True)
    r = s.get("/t/b.tif/info.json")
    assert r.status == (200 if ROWS[name][2] == "H" else 500), (name, r)
    open(folder + "/.htaccess", "w").write("SetHandler iiif-handler\n")
    assert s.get("/t/b.tif/info.json").status == 200


@pytest.mark.log(".*")
@pytest.mark.parametrize("name", sorted(n for n in ROWS if ROWS[n][2] == "H"))
def test_bad_value_in_htaccess(serve, folder, data, name):
    """A 500 for that folder and nobody else."""
    shutil.copy(data + "/b.tif", folder + "/b.tif")
    s = serve('<Directory "%s">\nAllowOverride FileInfo\nRequire all granted\n</Directory>\nAlias /t "%s"\n' % (folder, folder) + location("/i"),
              fresh=True)
    for bad in BAD[name]:
        open(folder + "/.htaccess", "w").write("SetHandler iiif-handler\n%s %s\n" % (name, bad))
        assert s.get("/t/b.tif/info.json").status == 500, bad
        assert s.get("/i/b.tif/info.json").status == 200


@pytest.mark.parametrize("name", sorted(ROWS))
def test_bad_values(configtest, name):
    for bad in BAD[name]:
        line = "%s %s" % (name, bad)
        rc, out = configtest("<Location /x>\n%s\n</Location>" % line if ROWS[name][2] == "L" else line)
        assert rc != 0 and name in out, (line, out)


def test_every_directive_has_bad_values():
    assert set(BAD) == set(ROWS)


@pytest.mark.parametrize("name", sorted(ROWS))
def test_defaults_may_be_written(configtest, name):
    """The table's default, as written, is good; nothing is said about it."""
    line = "%s %s" % (name, value(name))
    rc, out = configtest("<Location /x>\nSetHandler iiif-handler\nIIPRoot {data}\n%s\n</Location>" % ("" if name == "IIPRoot" else line)
                         if ROWS[name][2] != "S" else line)
    assert rc == 0 and "Syntax OK" in out and "iip:" not in out, out


def test_header_values_are_checked(configtest):
    for line in ('IIPCacheControl "%s"' % ("x" * 1100), "IIPCORS %s" % ("https://" + "x" * 1100), "IIPBaseURL https://%s" % ("x" * 1100)):
        rc, out = configtest(line)
        assert rc != 0, line[:40]


# ---- warnings at `httpd -t` and at start


def warnings(out, word):
    return [x for x in out.splitlines() if ":warn]" in x and word in x]


@pytest.mark.log("/nowhere/at/all|IIP0116")
def test_missing_root(configtest, serve):
    conf = location("/i", "/nowhere/at/all") + location("/j", "{data}")
    rc, out = configtest(conf)
    assert rc == 0 and len(warnings(out, "/nowhere/at/all")) == 1, out
    s = serve(conf, fresh=True)
    lines = s.complaints(["/nowhere/at/all"])
    assert not lines
    assert len(warnings(s.logtext(), "/nowhere/at/all")) == 1, "one warning each"
    assert s.get("/j/b.tif/info.json").status == 200
    r = s.get("/i/b.tif/info.json")
    assert r.status in (404, 403, 500, 503) and r.error


def test_unreadable_root(configtest, serve, folder):
    os.makedirs(folder + "/locked/pics")
    os.chmod(folder + "/locked", 0o700 if httpd.ROOT else 0)
    conf = location("/i", folder + "/locked/pics")
    rc, out = configtest(conf)
    assert rc == 0 and len(warnings(out, "locked/pics")) == 1, out


def test_root_is_a_file(configtest):
    rc, out = configtest(location("/i", "{data}/b.tif"))
    assert rc != 0 or len(warnings(out, "b.tif")) == 1, out


def test_no_root_and_no_encoded_slashes(configtest):
    place = "<Location /p>\nSetHandler iiif-handler\n</Location>\n"
    rc, out = configtest(place)
    assert rc == 0 and len(warnings(out, "AllowEncodedSlashes")) == 1, out
    rc, out = configtest("AllowEncodedSlashes NoDecode\n" + place)
    assert rc == 0 and not warnings(out, "AllowEncodedSlashes"), out
    rc, out = configtest(location("/i"))
    assert rc == 0 and not warnings(out, "AllowEncodedSlashes"), out


# ---- how places combine


def test_merging(serve):
    """Outer values hold inside, inner ones win, a nested place keeps the root and its prefix."""
    s = serve("IIPMaxSize 700\nIIPCacheControl outer\n" + location("/i", "{data}", "IIPQuality jpeg 90") + """
<Location /i/names>
IIPMaxSize 200
</Location>
<Location /i/names/sub>
IIPCacheControl inner
</Location>
<LocationMatch "squares">
IIPMaxSize 400
</LocationMatch>
<If "%{QUERY_STRING} == 'x'">
IIPMaxSize 100
</If>
""")

    def ask(p, q=""):
        r = s.get("/i/" + p + "/info.json" + q)
        assert r.status == 200 and r.json()["id"] == s.base + "/i/" + p.replace("names/sub/", "names%2Fsub%2F").replace("names/open/", "names%2Fopen%2F")
        return r.json()["maxWidth"], r["Cache-Control"]

    assert ask("b.tif") == (700, "outer")
    assert ask("names/open/x.tif") == (200, "outer")
    assert ask("names/sub/b.tif") == (200, "inner")
    assert ask("squares.tif") == (400, "outer")
    assert ask("b.tif", "?x") == (100, "outer")


def test_vhosts(serve, data):
    s = serve("IIPMaxSize 800\n" + """
<VirtualHost *:{port}>
ServerName one.example
%s
</VirtualHost>
<VirtualHost *:{port}>
ServerName two.example
IIPMaxSize 300
IIIFVersions 2
%s
</VirtualHost>
""" % (location("/i"), location("/i", "{data}/names")))
    a = s.get("/i/b.tif/info.json", {"Host": "one.example"}).json()
    assert a["maxWidth"] == 800 and a["id"] == "http://one.example/i/b.tif"
    b = s.get("/i/sub/b.tif/info.json", {"Host": "two.example"}).json()
    assert b["profile"][1]["maxWidth"] == 300 and b["@id"] == "http://two.example/i/sub%2Fb.tif"
    refused(s.get("/i/b.tif/info.json", {"Host": "two.example"}), 404, "not-found")


def test_several_locations_one_root(serve):
    s = serve(location("/", "{data}/names/sub") + location("/i") + location("/i/deeper", "{data}/names") + location("/img.d", "{data}") + location("/a b", "{data}"))
    assert s.get("/i/b.tif/info.json").json()["id"] == s.base + "/i/b.tif"
    assert s.get("/i/deeper/sub/b.tif/info.json").json()["id"] == s.base + "/i/deeper/sub%2Fb.tif"
    assert s.get("/img.d/b.tif/info.json").json()["id"] == s.base + "/img.d/b.tif"
    assert s.get("/a%20b/b.tif/info.json").json()["id"] == s.base + "/a%20b/b.tif"
    assert s.get("/b.tif/info.json").json()["id"] == s.base + "/b.tif"
    assert s.get("/i/deeper/deeper/b.tif/info.json").status == 404


def test_handler_without_iip_root_in_location_of_nothing(serve):
    s = serve("AllowEncodedSlashes NoDecode\n<Location /p>\nSetHandler iiif-handler\n</Location>\n")
    assert s.get("/p/x.tif/info.json").status == 404
    assert s.get("/p").status == 404


def test_shipped_configuration(configtest):
    """conf/iip.conf loads as it is, and says nothing."""
    path = os.path.join(httpd.TOP, "conf", "iip.conf")
    rc, out = configtest('Include "%s"' % path, modules=("reqtimeout",))
    assert rc == 0 and "iip:" not in out, out


def test_example_configurations(configtest):
    folder = os.path.join(httpd.TOP, "conf", "examples")
    names = sorted(n for n in os.listdir(folder) if n.endswith(".conf") and n != "fleet.conf")  # that one: test_fleet.py
    assert names
    for n in names:
        rc, out = configtest('Include "%s/%s"' % (folder, n), modules=("reqtimeout", "remoteip", "ssl", "http2", "rewrite", "headers"))
        assert rc == 0, (n, out)


@pytest.mark.parametrize("word", ["iip-handler", "deepzoom-handler", "zoomify-handler", "jpip-handler", "imgserve-handler", "thumb-handler", "iip-status", "nonsense-handler"])
@pytest.mark.log("AH00127|AH01071|Cannot map|not found or unable")
def test_handlers_of_others(serve, word):
    """Handlers that this build does not have are harmless (security.md 6.4)."""
    s = serve("AllowEncodedSlashes NoDecode\n<Location /p>\nSetHandler %s\n</Location>\n" % word + location("/i"), fresh=True)
    assert s.get("/p/x").status in (404, 400, 500)
    assert s.get("/i/b.tif/info.json").status == 200

