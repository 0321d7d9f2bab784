# SPDX-License-Identifier: Apache-2.0
"""Where jobs may not reach: special addresses in any spelling, redirects, a name that changes its address, data
connections of FTP, files (spec/imgserve.md section 9, spec/security.md section 7). Each with what may be reached beside
it, and a listener that must see nothing."""
import contextlib
import os
import ssl
import subprocess
import threading
import time

import pytest

import peers
from jobs import LOOPBACK, Jobs, is_result, picture

ONE = "IIPJobPorts any\n IIPJobAllowNet 127.0.0.1\n"  # the peer's address and no other


def test_refused_everywhere(folder, serve):
    """Sources, destinations and callbacks at special addresses. Spellings that resolvers take for addresses are no URLs."""
    jobs = Jobs(serve, folder, "IIPJobPorts any")
    with open(jobs.path("in/a.png"), "wb") as f:
        f.write(picture(300, 300))
    with peers.trap("::") as port:  # IPv4 too
        for host in ("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "0.0.0.0", "[::]", "169.254.169.254",
                     "[fe80::1]", "10.0.0.1", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "127.0.0.1."):
            code = jobs.post("http://%s:%d/a.png" % (host, port), "file:///x.png").json()["code"]
            assert code == (104 if host[-1] == "." else 207), (host, code)
        for host in ("127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"):
            for dst, args in (("http://%s:%d/up:a.png", {"field_name": "f"}), ("http://%s:%d/a.png", {"method": "put"}), ("ftp://%s:%d/a.png", {})):
                assert jobs.post("file:///a.png", dst % (host, port), args).json()["code"] == 208, (dst, host)
        for host in ("2130706433", "0x7f000001", "0x7f.1", "127.1", "0177.0.0.1", "127.0.0.01", "127.000.000.001", "evil@127.1", "%31%32%37.0.0.1",
                     "[::1%25lo]", "[fe80::1%lo]", "127.0.0.1%00.example.org", "127。0。0。1", "ⓛocalhost"):
            for src, dst, code in (("http://%s:%d/a.png" % (host, port), "file:///x.png", 104),
                                   ("file:///a.png", "ftp://%s:%d/a.png" % (host, port), 105)):
                assert jobs.post(src, dst).json().get("code") == code, (src, dst)
        r = jobs.post("file:///a.png", "file:///called.png", callback="http://127.0.0.1:%d/told" % port)
        jobs.done(r)
        until = time.time() + 10  # tried at once, refused for good: kept for the tries to come
        while not [n for n in os.listdir(jobs.path("spool/call")) if ".1." in n] and time.time() < until:
            time.sleep(0.05)
        assert [n for n in os.listdir(jobs.path("spool/call")) if ".1." in n]


def test_redirects(folder, serve, peer):
    jobs = Jobs(serve, folder, ONE + "IIPJobSourceHosts 127.0.0.1 localhost 127.0.0.2 [::ffff:127.0.0.2]\n")
    peer.files["a.png"] = picture(300, 300)
    here = peer.url + "/a.png"

    def moved(*where):
        for name, to in zip(["/r.png"] + ["/r%d.png" % i for i in range(9)], where):
            peer.answers[name] = [(302, {"Location": to})] * 2  # the look, the job
        return jobs.post(peer.url + "/r.png", "file:///r.png")

    with peers.trap() as port:
        assert moved("http://127.0.0.2:%d/a.png" % port).json()["code"] == 207
        for to in ("file:///etc/passwd", "ftp://127.0.0.1:%d/a.png" % port, "gopher://127.0.0.2:%d/" % port, "http://u:p@127.0.0.2:%d/" % port,
                   "http://elsewhere.example:%d/a.png" % port, "///", "http://"):
            assert moved(to).json()["code"] == 201, to
        for to in ("http://127.2:%d/a.png" % port, "http://2130706434:%d/a.png" % port, "http://[::ffff:127.0.0.2]:%d/a.png" % port):
            assert moved(to).json()["code"] in (201, 207), to
        # a redirect in the job's own process: the probe of this one met none
        r = jobs.post(here.replace("a.png", "late.png"), "file:///late.png", placeholder=False)
        peer.answers["/late.png"] = [(302, {"Location": "http://127.0.0.2:%d/a.png" % port})] * 9
        s = jobs.wait(r.json()["id"])
        assert s["state"] == "failed" and s["error"]["code"] in (201, 207), s
    for steps, good in ((3, True), (4, False)):
        chain = [peer.url + "/r%d.png" % i for i in range(steps - 1)] + [here]
        if good:
            jobs.done(moved(*chain))
        else:
            assert moved(*chain).json()["code"] == 201
    # what stands behind a relative place is looked at like any other
    jobs.done(moved("a.png"))


test_redirects = pytest.mark.log(r"IIP0205")(test_redirects)


def test_never_less_secure(folder, serve, peer):
    """https may not lead to http; a certificate of nobody's is no source."""
    cert, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True)
    safe = peers.Peer()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    safe.socket = context.wrap_socket(safe.socket, server_side=True)
    url = safe.url.replace("http:", "https:")
    safe.files["a.png"] = peer.files["a.png"] = picture(300, 300)
    try:
        jobs = Jobs(serve, folder, LOOPBACK + 'IIPJobCAFile "%s"' % cert)
        jobs.done(jobs.post(url + "/a.png", "file:///a.png"))
        safe.answers["/down.png"] = [(302, {"Location": peer.url + "/a.png"})]
        assert jobs.post(url + "/down.png", "file:///b.png").json()["code"] == 201
        assert peer.seen == []
        peer.answers["/up.png"] = [(302, {"Location": url + "/a.png"})] * 2
        jobs.done(jobs.post(peer.url + "/up.png", "file:///c.png"))
        with open(jobs.path("in/c.png"), "wb") as f:
            f.write(picture(300, 300))
        jobs.done(jobs.post("file:///c.png", url + "/put/x.png", {"method": "put"}))
        assert [m for m, *_ in safe.got] == ["PUT", "PUT"] and is_result(safe.got[-1][3])
        other = Jobs(serve, os.path.join(folder, "2"), LOOPBACK)
        assert other.post(url + "/a.png", "file:///a.png").json()["code"] == 201
    finally:
        safe.close()


REBIND = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

/* rebind.test is what stands in a file at this moment */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
    int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **) = dlsym(RTLD_NEXT, "getaddrinfo");
    char address[64] = "";
    FILE *f;

    if (node && strcmp(node, "rebind.test") == 0 && (f = fopen(ADDRESS, "r")) != NULL) {
        if (fgets(address, sizeof address, f))
            address[strcspn(address, "\n")] = 0;
        fclose(f);
        node = address;
    }
    return next(node, service, hints, out);
}
"""


def test_rebinding(folder, serve, peer):
    """A name that is good when the job is taken and another machine's when it is done, or when the answer redirects to it."""
    address, so = os.path.join(folder, "address"), os.path.join(folder, "rebind.so")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", so, "-xc", "-", '-DADDRESS="%s"' % address, "-ldl"], input=REBIND.encode(), check=True)

    def point(to):
        with open(address + ".new", "w") as f:
            f.write(to + "\n")
        os.rename(address + ".new", address)

    point("127.0.0.1")
    jobs = Jobs(serve, folder, ONE, env={"LD_PRELOAD": so})
    peer.files["a.png"] = picture(300, 300)
    port = peer.server_port
    jobs.done(jobs.post("http://rebind.test:%d/a.png" % port, "file:///good.png"))
    with peers.trap("127.0.0.2", port):
        point("127.0.0.2")
        assert jobs.post("http://rebind.test:%d/a.png" % port, "file:///a.png").json()["code"] == 207
        r = jobs.post("http://rebind.test:%d/a.png" % port, "file:///a.png", placeholder=False)
        s = jobs.wait(r.json()["id"])
        assert s["state"] == "failed" and s["error"]["code"] == 207, s
        # it changes between the look and the job
        point("127.0.0.1")
        peer.on_get = lambda: point("127.0.0.2")
        s = jobs.wait(jobs.post("http://rebind.test:%d/a.png" % port, "file:///b.png").json()["id"])
        assert s["state"] == "failed" and s["error"]["code"] == 207, s


test_rebinding = pytest.mark.log(r"IIP0205")(pytest.mark.slow(test_rebinding))


def test_ftp_sends_elsewhere(folder, serve):
    """The address in FTP's answer to PASV is not gone to."""
    jobs = Jobs(serve, folder, ONE)
    with peers.trap() as port, contextlib.closing(peers.Rogue("127.0.0.2", port)) as rogue:
        r = jobs.post("ftp://127.0.0.1:%d/a.png" % rogue.port, "file:///a.png").json()
        assert r["code"] == 201, r
        assert "PASV" in rogue.said
        with open(jobs.path("in/a.png"), "wb") as f:
            f.write(picture(300, 300))
        assert jobs.post("file:///a.png", "ftp://127.0.0.1:%d/a.png" % rogue.port).json()["code"] == 205


def test_files(folder, serve):
    """Links, devices and pipes beneath the roots, and names that lead out of them."""
    jobs = Jobs(serve, folder)
    good = picture(300, 300)
    os.makedirs(jobs.path("in/real"))
    for n in ("in/real/a.png", "secret.png", "in/b c.png"):
        with open(jobs.path(n), "wb") as f:
            f.write(good)
    os.symlink(jobs.path("secret.png"), jobs.path("in/out.png"))
    os.symlink("real/a.png", jobs.path("in/within.png"))
    os.symlink(jobs.path(), jobs.path("in/up"))
    os.mkfifo(jobs.path("in/pipe.png"), 0o666)
    os.makedirs(jobs.path("in/folder.png"))
    for src, code in (("out.png", 201), ("up/secret.png", 201), ("pipe.png", 201), ("folder.png", 201), ("../secret.png", 121), ("%2e%2e/secret.png", 121),
                      ("a/../../secret.png", 121), ("real/%2e%2e/real/a.png", 121), ("real%2fa.png", None), ("real/a.png", None), ("b%20c.png", None),
                      ("a%00.png", 104), (".hidden.png", 121)):
        t = time.time()
        r = jobs.post("file:///" + src, "file:///x.png").json()
        assert r.get("code") == code, (src, r)
        assert time.time() - t < 20
    assert jobs.post("file://elsewhere/real/a.png", "file:///x.png").json()["code"] == 104
    os.symlink("/etc", jobs.path("out/etc"))
    os.symlink(jobs.path("secret.png"), jobs.path("out/over.png"))
    assert jobs.post("file:///real/a.png", "file:///etc/a.png").json()["code"] == 205
    # a link at the name itself is replaced, never followed
    jobs.done(jobs.post("file:///real/a.png", "file:///over.png"))
    assert not os.path.islink(jobs.path("out/over.png"))
    with open(jobs.path("secret.png"), "rb") as f:
        assert f.read() == good
    assert os.stat(jobs.path("out/over.png")).st_mode & 0o777 == 0o644


def test_slow_and_lying_sources(folder, serve, peer):
    """Bytes are counted as they come, and who is too slow is left: the place in httpd is not held."""
    jobs = Jobs(serve, folder, LOOPBACK + "IIPJobMaxSource 300K\n IIPJobTransferTimeout 1s\n IIPJobRetries 0\n")
    peer.files["long.jpg"] = picture(3000, 2000, "JPEG", quality=98) + bytes(500000)
    peer.slow["/long.jpg"] = "no length"
    r = jobs.post(peer.url + "/long.jpg", "file:///a.png", placeholder=False)
    assert jobs.wait(r.json()["id"])["error"]["code"] == 206
    peer.files["short.png"] = picture(1000, 1000)[:-100]  # fewer bytes come than are announced, and it ends with them
    peer.slow["/short.png"] = "too many announced"
    assert jobs.post(peer.url + "/short.png", "file:///c.png", placeholder=False).status == 200
    peer.files["cut.png"] = picture(300, 300)
    peer.slow["/cut.png"] = "too few announced"
    assert jobs.post(peer.url + "/cut.png", "file:///d.png").json()["code"] == 202
    peer.files["huge.png"] = picture(300, 300)
    peer.slow["/huge.png"] = "a terabyte announced"
    r = jobs.post(peer.url + "/huge.png", "file:///e.png", placeholder=False)
    assert jobs.wait(r.json()["id"])["state"] == "failed"
    gate = threading.Event()
    peer.on_get = lambda: gate.wait(20)
    peer.files["slow.png"] = picture(300, 300)
    t = time.time()
    assert jobs.post(peer.url + "/slow.png", "file:///b.png").json()["code"] == 201
    assert time.time() - t < 15
    gate.set()


test_slow_and_lying_sources = pytest.mark.log(r"IIP0205")(test_slow_and_lying_sources)
