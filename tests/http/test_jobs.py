# SPDX-License-Identifier: Apache-2.0
"""Image jobs over HTTP, with real peers. The cases of spec/imgserve.md section 12 are

 1 test_seed; tests/unit/test_job_parse.c test_seed    9 test_same_destination; test_job_run.c test_order
 2 test_job_parse.c test_codes; test_slow_checks      10 test_jobs_reach.py; test_job_parse.c test_hosts, test_guard
 3 test_job_parse.c test_dest                         11 test_jobs_reach.py test_files
 4 test_seed, test_jobs_pictures.py test_formats      12 test_jobs_reach.py test_slow_and_lying_sources
 5 test_jobs_pictures.py; test_job_run.c              13 test_bombs
 6 test_jobs_kills.py; test_job_run.c test_killed      14 test_callback
 7 test_job_run.c test_crash, test_bombs              15 test_batch_key_cancel; test_job_spool.c test_key_*
 8 test_full_disk                                     16 tests/bench/jobs.py"""
import base64
import concurrent.futures
import contextlib
import gzip
import hashlib
import hmac
import io
import json
import os
import random
import shutil
import socket
import subprocess
import threading
import time

import pytest
from PIL import Image

import httpd
import peers
from jobs import LOOPBACK, Jobs, is_result, picture, size_of


def test_seed(folder, serve, peer):
    """Both examples of the old document, for peers of ours: ftp, and a form."""
    jobs = Jobs(serve, folder, LOOPBACK)
    peer.files["wikipedia/en/7/70/Ex.png"] = picture(600, 500)
    os.makedirs(jobs.path("ftp/wikipedia"))
    with peers.ftp(jobs.path("ftp")) as port:
        r = jobs.post(peer.url + "/wikipedia/en/7/70/Ex.png",
                      "ftp://u:pw@127.0.0.1:%d/wikipedia/{$width}-{$basename}.{$ext}" % port)
        assert r["Content-Type"] == "application/json"
        assert r.json()["dstURL"] == "ftp://u:pw@127.0.0.1:%d/wikipedia/200-Ex.png" % port
        assert r.json()["statusURL"] == "/jobs/" + r.json()["id"]
        with open(jobs.path("ftp/wikipedia/200-Ex.png"), "rb") as f:  # there before the reply
            assert size_of(f.read()) == (200, 120)
        s = jobs.done(r)
        assert "pw" not in json.dumps(s) and "***" in s["dstURL"]
        assert (s["width"], s["height"], s["format"], s["attempts"], s["error"]) == (200, 120, "png", 1, None)
        with open(jobs.path("ftp/wikipedia/200-Ex.png"), "rb") as f:
            data = f.read()
        assert size_of(data) == (200, 120) and is_result(data) and len(data) == s["bytes"]
    r = jobs.post(peer.url + "/wikipedia/en/7/70/Ex.png", peer.url + "/upload.html:{$width}-{$basename}.{$extension}",
                  {"field_name": "image_file", "form": {"token": "x y"}})
    assert r.json()["dstURL"] == peer.url + "/upload.html:200-Ex.png"
    jobs.done(r)
    assert [h["X-IIP-Stage"] for _, _, h, _ in peer.got] == ["placeholder", "result"]
    assert {h["X-IIP-Job"] for _, _, h, _ in peer.got} == {r.json()["id"]}
    for i, (method, path, headers, body) in enumerate(peer.got):
        form = peers.parts(headers, body)
        assert (method, path) == ("POST", "/upload.html")
        assert form["image_file"][:2] == ("200-Ex.png", "image/png") and form["token"][2] == b"x y"
        assert is_result(form["image_file"][2]) == (i == 1)


def test_put_and_statuses(folder, serve, peer):
    jobs = Jobs(serve, folder, LOOPBACK + "IIPJobStrictStatus On")
    peer.files["a.jpg"] = picture(400, 400, "JPEG")
    r = jobs.post(peer.url + "/a.jpg", peer.url + "/put/a.webp", {"method": "put"})
    assert r.status == 202
    assert jobs.wait(r.json()["id"])["state"] == "done"
    assert [(m, p, h["Content-Type"]) for m, p, h, _ in peer.got] == [("PUT", "/put/a.webp", "image/webp")] * 2
    assert jobs.ask("POST", "/jobs", b"{").status == 400
    r = jobs.ask("POST", "/jobs", {})
    assert (r.status, r.json()["code"]) == (422, 101)
    r = jobs.ask("PUT", "/jobs", b"x")
    assert r.status == 405 and "POST" in r["Allow"]
    assert jobs.ask("GET", "/jobs/01ARZ3NDEKTSV4RRFFQ69G5FAV").status == 404


@pytest.mark.log(r"IIP0205")
def test_uploads(folder, serve, peer):
    """Which answers count as stored, what uploads say of themselves, and the picture of a failure."""
    jobs = Jobs(serve, folder, LOOPBACK + "IIPJobRetries 0\n")
    for name in ("a.png", "gone.png"):
        with open(jobs.path("in", name), "wb") as f:
            f.write(picture(300, 300))
    for method, good, bad in (("post", (200, 201, 204, 206, 302, 303), (301, 307, 400, 404, 500)), ("put", (200, 201, 204), (202, 206, 302, 403, 503))):
        for status in good + bad:
            path = "/%s%d" % (method, status)
            peer.answers[path + ("/x.png" if method == "put" else "")] = [(status, {"Location": "/elsewhere"})] * 2
            r = jobs.post("file:///a.png", peer.url + path + ("/x.png" if method == "put" else ":x.png"), {"field_name": "f", "method": method})
            assert ("id" in r.json()) == (status in good), (method, status, r.body)
            if status in good:
                jobs.done(r)
            else:
                assert r.json()["code"] == 205
    assert not [p for _, p in peer.seen if p == "/elsewhere"]
    del peer.got[:]
    jobs.done(jobs.post("file:///gone.png", peer.url + "/up:x.jpg", {"field_name": "f"}))
    assert [h["X-IIP-Stage"] for _, _, h, _ in peer.got] == ["placeholder", "result"]
    assert peer.got[0][2]["User-Agent"].startswith("mod_iip/")
    del peer.got[:]
    # a source that goes away between its look and the job
    peer.files["late.png"] = picture(300, 300)
    peer.on_get = lambda: peer.files.clear()
    s = jobs.wait(jobs.post(peer.url + "/late.png", peer.url + "/up:x.jpg", {"field_name": "f"}).json()["id"])
    assert s["state"] == "failed" and s["error"]["code"] == 201
    assert [h["X-IIP-Stage"] for _, _, h, _ in peer.got] == ["placeholder", "failure"]
    first, last = (peers.parts(h, b)["f"][2] for _, _, h, b in peer.got)
    assert first != last and size_of(last) == (200, 120)


def test_busy(folder, serve, peer):
    """Eight requests at once may look at sources, no more; a full queue takes none."""
    jobs = Jobs(serve, folder, LOOPBACK, head="IIPJobMaxQueue 3\n", threads=24, workers=0)
    gate = threading.Event()
    peer.files["a.png"] = picture(300, 300)
    peer.on_get = lambda: gate.wait(20)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(jobs.post, peer.url + "/a.png", "file:///%d.png" % i) for i in range(8)]
        until = time.time() + 20
        while len(peer.inside) < 8 and time.time() < until:
            time.sleep(0.01)
        r = jobs.post(peer.url + "/a.png", "file:///x.png")
        assert (r.status, r.json()) == (503, {"msg": "busy", "code": 122}) and int(r["Retry-After"]) > 0
        assert jobs.ask("POST", "/jobs", b"{").status == 200  # the quick checks go on
        gate.set()
        assert all("id" in w.result().json() for w in waiting)
    time.sleep(1.1)  # the queue is counted once a second
    r = jobs.post(peer.url + "/a.png", "file:///y.png", placeholder=False)
    assert (r.status, r.json()["code"]) == (503, 122)
    assert len(os.listdir(jobs.path("spool/queue"))) == 8 and os.listdir(jobs.path("spool/tmp")) == []


test_busy = pytest.mark.log(r"IIP0201")(test_busy)


def test_placeholder_file(folder, serve):
    jobs = Jobs(serve, folder, 'IIPJobPlaceholderFile "%s/hold.png"' % folder, workers=0)  # nobody overwrites it
    with open(jobs.path("hold.png"), "wb") as f:
        f.write(picture(60, 30, colour=(200, 10, 20)))
    with open(jobs.path("in/a.png"), "wb") as f:
        f.write(picture(300, 300))
    assert "id" in jobs.post("file:///a.png", "file:///a.jpg").json()
    with open(jobs.path("out/a.jpg"), "rb") as f:
        im = Image.open(f)
        assert im.size == (200, 120) and abs(im.getpixel((100, 60))[0] - 200) < 10


def test_old_statuses(folder, serve):
    jobs = Jobs(serve, folder)
    r = jobs.ask("POST", "/jobs", b"{'dstURL': 1}")
    assert (r.status, r.json()) == (200, {"msg": "request parse error"})
    r = jobs.ask("POST", "/jobs", {"args": {}})
    assert r.status == 200 and r.json()["msg"] == "request invalid" and r.json()["code"] == 101
    assert jobs.ask("PUT", "/jobs", b"x").status == 404


def test_slow_checks(folder, serve, peer):
    jobs = Jobs(serve, folder, LOOPBACK + "IIPJobMaxSource 200K\n IIPJobMaxPixels 1000000\n")
    peer.files.update({"small.png": picture(100, 100), "text.png": b"hello" * 100, "big.png": picture(2000, 2000),
                       "long.svg": b"<svg>" + b" " * 300000 + b"</svg>", "bad.svg": b"<svg><g></svg>",
                       "html.svg": b"<html/>", "noext": picture(300, 300)})
    for src, code, op in (("none.png", 201, "resize"), ("text.png", 202, "resize"), ("small.png", 203, "resize"),
                          ("bad.svg", 204, "rasterize"), ("html.svg", 204, "rasterize"), ("big.png", 206, "resize"),
                          ("long.svg", 206, "rasterize")):
        r = jobs.post(peer.url + "/" + src, "file:///x.png", op=op)
        assert r.json().get("code") == code, (src, r.body)
        assert not os.path.exists(jobs.path("out/x.png"))
    jobs.done(jobs.post(peer.url + "/noext", "file:///y.png"))
    peer.files["ok.png"] = picture(300, 300)
    assert jobs.post(peer.url + "/ok.png", "http://127.0.0.1:1/f:x.png", {"field_name": "f"}).json()["code"] == 205


@pytest.mark.skipif(not shutil.which("heif-enc"), reason="needs heif-enc")
def test_trusted_only(folder, serve, peer):
    """Formats whose decoders cannot be held to a memory limit are for the administrator's own files."""
    jobs = Jobs(serve, folder, LOOPBACK)
    with open(os.path.join(folder, "a.png"), "wb") as f:
        f.write(picture(300, 300))
    subprocess.run(["heif-enc", "-o", os.path.join(folder, "a.heic"), os.path.join(folder, "a.png")], check=True, capture_output=True)
    with open(os.path.join(folder, "a.heic"), "rb") as f:
        peer.files["noext"] = f.read()
    assert jobs.post(peer.url + "/noext", "file:///y.png").json()["code"] == 202


def test_head_only(folder, serve, peer):
    """The look at a source reads its head, not all of it."""
    jobs = Jobs(serve, folder, LOOPBACK)
    noise = Image.frombytes("RGB", (1500, 1500), random.Random(1).randbytes(1500 * 1500 * 3))
    out = io.BytesIO()
    noise.save(out, "PNG")
    peer.files["n.png"] = out.getvalue()
    t = time.time()
    r = jobs.post(peer.url + "/n.png", "file:///n.png")
    assert "id" in r.json(), r.body
    assert time.time() - t < 10
    jobs.done(r)


@pytest.mark.parametrize("url, code", [
    ("http://127.0.0.1:%d/a.png", 207), ("http://localhost:%d/a.png", 207), ("http://[::1]:%d/a.png", 207),
    ("http://[::ffff:127.0.0.1]:%d/a.png", 207), ("http://0.0.0.0:%d/a.png", 207),
    ("http://2130706433:%d/a.png", 104), ("http://0x7f000001:%d/a.png", 104), ("http://127.1:%d/a.png", 104)])
def test_refused_addresses(folder, serve, url, code):
    """A listener that must see no connection sees none."""
    jobs = Jobs(serve, folder, "IIPJobPorts any")
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as trap:
        trap.settimeout(0.3)
        port = trap.getsockname()[1]
        r = jobs.post(url % port, "file:///a.png")
        assert r.json()["code"] == code, r.body
        with pytest.raises(socket.timeout):
            trap.accept()


def test_refused_destinations(folder, serve, peer):
    jobs = Jobs(serve, folder, "IIPJobPorts any\n IIPJobAllowNet 127.0.0.1\n")
    peer.files["a.png"] = picture(300, 300)
    with socket.create_server(("127.0.0.2", 0)) as trap:
        trap.settimeout(0.3)
        port = trap.getsockname()[1]
        for dst, args in (("http://127.0.0.2:%d/f:a.png", {"field_name": "f"}), ("ftp://127.0.0.2:%d/a.png", {}),
                          ("http://127.0.0.2:%d/a.png", {"method": "put"})):
            assert jobs.post(peer.url + "/a.png", dst % port, args).json()["code"] == 208
        # redirected inward
        peer.answers["/in.png"] = [(302, {"Location": "http://127.0.0.2:%d/a.png" % port})]
        assert jobs.post(peer.url + "/in.png", "file:///a.png").json()["code"] == 207
        peer.answers["/in.png"] = [(302, {"Location": "file:///etc/passwd"})]
        assert jobs.post(peer.url + "/in.png", "file:///a.png").json()["code"] == 201
        with pytest.raises(socket.timeout):
            trap.accept()


def test_hosts_ports_roots(folder, serve, peer):
    jobs = Jobs(serve, folder, "IIPJobAllowNet 127.0.0.0/8\n IIPJobSourceHosts 127.0.0.1\n")
    assert jobs.post(peer.url + "/a.png", "file:///a.png").json()["code"] == 121  # port
    assert jobs.post("http://localhost/a.png", "file:///a.png").json()["code"] == 121
    os.symlink("/etc", jobs.path("in/etc"))
    os.symlink("/etc", jobs.path("out/etc"))
    shutil.copy("/etc/hostname", jobs.path("in/x.png"))
    for src in ("etc/passwd.png", "../in/x.png", "%2e%2e/in/x.png", ".x.png"):
        r = jobs.post("file:///" + src, "file:///a.png")
        assert r.json()["code"] in (121, 201), (src, r.body)
    with open(jobs.path("in/ok.png"), "wb") as f:
        f.write(picture(300, 300))
    assert jobs.post("file:///ok.png", "file:///etc/a.png").json()["code"] == 205
    for dst in ("../a.png", "%2e%2e/a.png", "a/.x.png", "a%00.png"):
        assert jobs.post("file:///ok.png", "file:///" + dst).json()["code"] == 105, dst


def test_retry_after_failures(folder, serve, peer):
    """503 with Retry-After, then good; 404 is for good, with the picture that says so."""
    jobs = Jobs(serve, folder, LOOPBACK)
    peer.files["a.png"] = picture(300, 300)
    r = jobs.post(peer.url + "/a.png", "file:///a.png", placeholder=False)
    jobs.done(r)
    peer.answers["/b.png"] = [(503, {"Retry-After": "1"})]
    peer.files["b.png"] = picture(300, 300)
    r = jobs.post(peer.url + "/b.png", "file:///b.png", placeholder=False)
    s = jobs.done(r)
    assert s["attempts"] == 2
    peer.files["c.png"] = picture(300, 300)
    r = None
    with open(jobs.path("in/hold.png"), "wb") as f:
        f.write(picture(300, 300))
    peer.answers["/d.png"] = []
    r = jobs.post(peer.url + "/gone.png", "file:///d.png", placeholder=False)
    s = jobs.wait(r.json()["id"])
    assert s["state"] == "failed" and s["error"]["code"] == 201 and s["attempts"] == 1
    peer.files["gone.png"] = picture(300, 300)
    assert jobs.ask("POST", "/jobs/%s/retry" % s["id"]).status == 200
    assert jobs.wait(s["id"])["state"] == "done"
    assert jobs.ask("POST", "/jobs/%s/retry" % s["id"]).status == 409
    assert jobs.ask("DELETE", "/jobs/%s" % s["id"]).status == 409


test_retry_after_failures = pytest.mark.log(r"IIP0205")(test_retry_after_failures)


def test_batch_key_cancel(folder, serve, peer):
    jobs = Jobs(serve, folder, LOOPBACK)
    peer.files["a.png"] = picture(300, 300)
    one = dict(operationType="resize", srcURL=peer.url + "/a.png", dstURL="file:///k.png",
               args=dict(width=20, height=20), key="order 7")
    r = jobs.ask("POST", "/jobs", {"jobs": [one, dict(one, key="order 8", dstURL="file:///l.png"), {"x": 1}, 5]})
    got = r.json()["results"]
    assert [g.get("code") for g in got] == [None, None, 101, None] and got[3] == {"msg": "request parse error"}
    again = jobs.ask("POST", "/jobs", one).json()
    assert again == got[0]
    for g in got[:2]:
        assert jobs.wait(g["id"])["state"] == "done"
    assert jobs.ask("POST", "/jobs", one).json() == got[0]
    peer.answers["/wait.png"] = [(503, {"Retry-After": "300"})]
    r = jobs.post(peer.url + "/wait.png", "file:///m.png", placeholder=False).json()
    until = time.time() + 20
    while jobs.state(r["id"])["state"] != "retrying" and time.time() < until:
        time.sleep(0.02)
    s = jobs.ask("DELETE", "/jobs/" + r["id"]).json()
    assert s["state"] == "cancelled"
    assert jobs.ask("POST", "/jobs", {"jobs": []}).json()["code"] == 123


def test_callback(folder, serve, peer):
    with open(os.path.join(folder, "secret"), "w") as f:
        f.write("open sesame\n")
    os.chmod(os.path.join(folder, "secret"), 0o644)
    jobs = Jobs(serve, folder, LOOPBACK + 'IIPJobCallbackSecret "%s/secret"' % folder)
    peer.files["a.png"] = picture(300, 300)
    r = jobs.post(peer.url + "/a.png", "file:///a.png", callback=peer.url + "/told?x=1")
    s = jobs.done(r)
    until = time.time() + 20
    while not peer.got and time.time() < until:
        time.sleep(0.02)
    method, path, headers, body = peer.got[0]
    assert (method, path) == ("POST", "/told?x=1") and json.loads(body) == s
    t, mac = headers["X-IIP-Signature"].split(",")
    t = t.split("=")[1]
    want = hmac.new(b"open sesame", ("%s." % t).encode() + body, hashlib.sha256).hexdigest()
    assert mac == "v1=" + want and abs(int(t) - time.time()) < 30
    # one that failed is made again: in 15 s, here at once
    peer.answers["/later"] = [(503, {})]
    del peer.got[:]
    s = jobs.done(jobs.post(peer.url + "/a.png", "file:///c.png", callback=peer.url + "/later"))
    until = time.time() + 20
    while not [n for n in os.listdir(jobs.path("spool/call")) if ".1." in n] and time.time() < until:
        time.sleep(0.02)
    (name,) = os.listdir(jobs.path("spool/call"))
    assert 8 < int(name[:13]) / 1000 - time.time() <= 15 and not peer.got
    os.rename(jobs.path("spool/call", name), jobs.path("spool/call", "%013d" % 1 + name[13:]))
    while not peer.got and time.time() < until:
        time.sleep(0.02)
    assert json.loads(peer.got[0][3]) == s
    # a redirect is no delivery
    peer.answers["/moved"] = [(302, {"Location": "/told"})]
    before = len(peer.got)
    jobs.done(jobs.post(peer.url + "/a.png", "file:///b.png", callback=peer.url + "/moved"))
    time.sleep(1)
    assert len(peer.got) == before
    assert os.listdir(jobs.path("spool/call"))


def test_as_the_old_server(folder, serve, peer):
    """All of a port as imgserve had it, files by their whole path: what the README says to those who move."""
    port = httpd.free_port()
    head = """Listen 127.0.0.1:%d
<VirtualHost 127.0.0.1:%d>
    <Location "/">
        SetHandler imgserve-handler
        IIPJobs On
        IIPJobAllowAnonymous On
        Require ip 127.0.0.0/8
        IIPJobSourceSchemes http https ftp ftps file
        IIPJobDestSchemes http https ftp ftps file
        IIPJobDestHosts *
        IIPJobAllowNet 127.0.0.0/8
        IIPJobPorts any
        IIPJobSourceRoot /
        IIPJobDestRoot /
    </Location>
</VirtualHost>
""" % (port, port)
    jobs = Jobs(serve, folder, head=head)
    jobs.server.port, own = port, jobs.server.port
    with open(jobs.path("in/a.png"), "wb") as f:
        f.write(picture(300, 300))
    r = jobs.ask("POST", "/", dict(operationType="resize", srcURL="file://" + jobs.path("in/a.png"),
                                   dstURL="file://%s/{$width}.{$ext}" % jobs.path("out"), args={"width": 20, "height": 20}))
    got = r.json()
    assert r.status == 200 and got["dstURL"] == "file://%s/20.png" % jobs.path("out") and got["statusURL"] == "/" + got["id"]
    until = time.time() + 20
    while jobs.ask("GET", got["statusURL"]).json()["state"] != "done" and time.time() < until:
        time.sleep(0.05)
    with open(jobs.path("out/20.png"), "rb") as f:
        assert is_result(f.read())
    assert jobs.ask("GET", "/").status == 404 and jobs.ask("POST", "/", b"").json() == {"msg": "request parse error"}
    jobs.server.port = own


@pytest.mark.log(r"IIP0201")
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk")
def test_full_disk(folder, serve):
    """No room for a job's record: 503, and nothing is promised."""
    os.makedirs(os.path.join(folder, "spool"))
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "none", os.path.join(folder, "spool")], capture_output=True).returncode:
        pytest.skip("cannot mount")
    try:
        jobs = Jobs(serve, folder)
        with open(jobs.path("in/a.png"), "wb") as f:
            f.write(picture(300, 300))
        jobs.done(jobs.post("file:///a.png", "file:///a.png", placeholder=False))
        with contextlib.suppress(OSError), open(jobs.path("spool/fill"), "wb", buffering=0) as f:
            while True:
                f.write(bytes(4096))
        for n in range(3):
            r = jobs.post("file:///a.png", "file:///b%d.png" % n, placeholder=False)
            assert (r.status, r.json()) == (503, {"msg": "busy", "code": 122}) and r["Retry-After"]
        one = dict(operationType="resize", srcURL="file:///a.png", dstURL="file:///c.png", args=dict(width=9, height=9), placeholder=False)
        got = jobs.ask("POST", "/jobs", {"jobs": [one, dict(one, key="k")]}).json()["results"]
        assert [g["code"] for g in got] == [122, 122]
        assert not os.listdir(jobs.path("spool/queue")) + os.listdir(jobs.path("spool/tmp"))
        os.unlink(jobs.path("spool/fill"))
        jobs.done(jobs.post("file:///a.png", "file:///d.png", placeholder=False))
        assert sorted(os.listdir(jobs.path("out"))) == ["a.png", "d.png"]
        jobs.server.stop()
    finally:
        subprocess.run(["umount", "-l", os.path.join(folder, "spool")])


def test_same_destination(folder, serve):
    """Of twenty jobs for one destination the last wins, two runners or not."""
    jobs = Jobs(serve, folder)
    with open(jobs.path("in/a.png"), "wb") as f:
        f.write(picture(300, 300))
    ids = []
    for n in range(1, 21):
        ids.append(jobs.post("file:///a.png", "file:///one.png", {"width": 10 * n, "height": 10 * n}, placeholder=False).json()["id"])
        time.sleep(0.002)  # ids are in order by the millisecond
    for i in ids:
        assert jobs.wait(i)["state"] == "done"
    with open(jobs.path("out/one.png"), "rb") as f:
        assert size_of(f.read()) == (200, 200)


@pytest.mark.log(r"IIP0202")
def test_login(folder, serve):
    """Closed unless somebody logged in, or the administrator vouches for the place."""
    jobs = Jobs(serve, folder, "IIPJobAllowAnonymous Off")
    assert jobs.ask("POST", "/jobs", b"{}").status == 500


@pytest.mark.log(r"IIP0202|AH01617")
def test_logged_in(folder, serve):
    """Who logged in needs no further word."""
    users = os.path.join(folder, "users")
    subprocess.run(["htpasswd", "-bc", users, "me", "pw"], check=True, capture_output=True)
    os.chmod(users, 0o644)
    auth = 'IIPJobAllowAnonymous Off\n AuthType Basic\n AuthName jobs\n AuthUserFile "%s"' % users
    jobs = Jobs(serve, folder, auth, require="valid-user")
    body = json.dumps(dict(operationType="turn", srcURL="x", dstURL="y", args={}))
    me = {"Authorization": "Basic " + base64.b64encode(b"me:pw").decode()}
    assert jobs.ask("POST", "/jobs", body.encode(), me).json()["code"] == 102
    assert jobs.ask("POST", "/jobs", body.encode()).status == 401
    assert jobs.ask("POST", "/jobs", body.encode(), {"Authorization": "Basic " + base64.b64encode(b"me:no").decode()}).status == 401
    # a password that nobody asked for opens nothing
    jobs = Jobs(serve, folder, auth)
    assert jobs.ask("POST", "/jobs", body.encode(), me).status == 500


def test_off(folder, serve):
    s = serve("<Location /jobs>\n SetHandler imgserve-handler\n Require all granted\n</Location>")
    assert s.request("POST", "/jobs", None, b"{}").status == 404


def test_status(folder, serve, peer):
    jobs = Jobs(serve, folder, LOOPBACK)
    peer.files["a.png"] = picture(300, 300)
    jobs.done(jobs.post(peer.url + "/a.png", "file:///a.png"))
    jobs.post(peer.url + "/none.png", "file:///a.png")
    text = jobs.ask("GET", "/jobs?status&format=prometheus").body.decode()
    assert "\niip_jobs_done_total 1\n" in text
    assert '\niip_jobs_rejected_total{code="201"} 1\n' in text
    assert jobs.ask("GET", "/jobs?status&format=json").json()["iip_jobs_queued"] == 0
    for stage in ("fetch", "decode", "encode", "store"):
        assert 'iip_job_seconds_count{stage="%s"} 1\n' % stage in text
    assert b"<table>" in jobs.ask("GET", "/jobs?status").body
    all_of_it = jobs.ask("GET", "/iip-status?format=json").json()  # among the figures of all
    assert all_of_it["jobs_done"] == all_of_it["jobs_accepted"] == all_of_it["jobs_refused"] == 1
    assert all_of_it["jobs_queued"] == all_of_it["jobs_running"] == all_of_it["jobs_failed"] == 0


def test_ftps(folder, serve, peer):
    """Anonymous: without TLS, with explicit, with implicit TLS; in and out."""
    cert, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True,
                   capture_output=True)
    jobs = Jobs(serve, folder, LOOPBACK + 'IIPJobCAFile "%s"\n IIPJobFTPSecure required' % cert)
    peer.files["a.png"] = picture(300, 300)
    for implicit in (False, True):
        root = os.path.join(folder, "ftp%d" % implicit)
        with peers.vsftpd(root, (cert, key), implicit) as port:
            there = "%s://localhost:%d/in/" % ("ftps" if implicit else "ftp", port)
            jobs.done(jobs.post(peer.url + "/a.png", there + "a.png"))
            with open(os.path.join(root, "in", "a.png"), "rb") as f:
                assert is_result(f.read())
            jobs.done(jobs.post(there + "a.png", "file:///b%d.png" % implicit, {"width": 100, "height": 60}))
            assert jobs.post(there + "none.png", "file:///c.png").json()["code"] == 201
            os.chmod(root, 0o755)
    root = os.path.join(folder, "ftp")
    with peers.vsftpd(root) as port:  # TLS is required here: a server without gets no password and no picture
        assert jobs.post(peer.url + "/a.png", "ftp://localhost:%d/in/a.png" % port).json()["code"] == 205
        plain = Jobs(serve, os.path.join(folder, "plain"), LOOPBACK)
        plain.done(plain.post(peer.url + "/a.png", "ftp://localhost:%d/in/a.png" % port))
        with open(os.path.join(root, "in", "a.png"), "rb") as f:
            assert is_result(f.read())
        os.chmod(root, 0o755)


@pytest.mark.log(r"AH01906|AH01873")
def test_https_of_httpd(folder, serve):
    """A source behind httpd's own TLS, with a certificate of a throw-away authority."""
    cert, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
    port = httpd.free_port()
    head = ("SSLSessionCache none\nListen 127.0.0.1:%d\n<VirtualHost 127.0.0.1:%d>\nSSLEngine On\nSSLCertificateFile %s\nSSLCertificateKeyFile %s\n"
            'Alias /in "%s/in"\n<Directory "%s/in">\nRequire all granted\n</Directory>\n</VirtualHost>\n' % (port, port, cert, key, folder, folder))
    jobs = Jobs(serve, folder, LOOPBACK + 'IIPJobCAFile "%s"' % cert, head=head, modules=("ssl",))
    with open(jobs.path("in/a.png"), "wb") as f:
        f.write(picture(300, 300))
    jobs.done(jobs.post("https://localhost:%d/in/a.png" % port, "file:///a.png"))
    assert jobs.post("https://127.0.0.1:%d/in/a.png" % port, "file:///b.png").json()["code"] == 201  # not its name


@pytest.mark.log(r"IIP0205")
def test_bombs(folder, serve, peer):
    """SVGs and pictures that ask for much end in time, within memory, and take nobody along."""
    jobs = Jobs(serve, folder, LOOPBACK + "IIPJobRetries 0\n IIPJobMaxSource 4M", head="IIPJobTimeout 5s\nIIPJobMemory 600M\n")
    entity = '<!DOCTYPE s [<!ENTITY a0 "aaaaaaaaaa">' + "".join(
        '<!ENTITY a%d "%s">' % (i, "&a%d;" % (i - 1) * 10) for i in range(1, 10)) + "]>"
    nest = "".join('<g id="n%d">%s</g>' % (i, '<use href="#n%d"/>' % (i - 1) * 10) for i in range(1, 12))
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10">%s</svg>'
    peer.files.update({
        "entity.svg": (entity + svg % "&a9;").encode(),
        "nest.svg": (svg % ('<rect id="n0" width="1" height="1"/>' + nest + '<use href="#n11"/>')).encode(),
        "filter.svg": (svg % ('<filter id="f"><feGaussianBlur stdDeviation="100000"/><feTurbulence baseFrequency="1e9" numOctaves="9999"/>'
                              '</filter><rect width="9999999" height="9999999" filter="url(#f)"/>')).encode(),
        "gzip.svgz": gzip.compress((svg % (" " * 50000000)).encode()),
        "file.svg": (svg % '<image href="file:///etc/passwd" width="9" height="9"/>').encode(),
    })
    t = time.time()
    for name in ("entity.svg", "nest.svg", "filter.svg", "gzip.svgz", "file.svg"):
        r = jobs.post(peer.url + "/" + name, "file:///x-%s.png" % name, op="rasterize").json()
        if "id" in r:
            assert jobs.wait(r["id"])["state"] in ("done", "failed")
        else:
            assert r["code"] in (204, 206), (name, r)
    # one whose header promises 65535 x 65535, and one whose length is a lie
    peer.files["wide.png"] = picture(300, 300).replace((300).to_bytes(4, "big") * 2, (65535).to_bytes(4, "big") * 2)
    assert jobs.post(peer.url + "/wide.png", "file:///w.png").json()["code"] == 206
    peer.files["endless.jpg"] = picture(3000, 3000, "JPEG") + bytes(6 << 20)
    peer.slow["/endless.jpg"] = "no length"
    r = jobs.post(peer.url + "/endless.jpg", "file:///e.jpg").json()
    assert jobs.wait(r["id"])["error"]["code"] == 206
    assert time.time() - t < 60


def test_warned_at_the_start(folder, configtest):
    """What keeps jobs from being done is told before the first of them."""
    os.makedirs(os.path.join(folder, "mine"), mode=0o700)
    code, text = configtest('<Location /jobs>\n SetHandler imgserve-handler\n IIPJobs On\n IIPJobDestRoot "%s/mine"\n IIPJobSourceRoot "%s/none"\n</Location>'
                            % (folder, folder))
    assert code == 0 and "without IIPJobSpool: no jobs are taken" in text
    assert "IIPJobSourceRoot %s/none does not exist" % folder in text
    assert not httpd.ROOT or "IIPJobDestRoot %s/mine cannot be read by User" % folder in text
    code, text = configtest('IIPJobSpool "%s/spool"\n<Location /jobs>\n IIPJobs On\n IIPJobSourceRoot "%s"\n</Location>' % (folder, folder))
    assert code == 0 and "IIP0002" not in text
