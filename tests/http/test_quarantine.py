# SPDX-License-Identifier: Apache-2.0
"""Files that crash a child (spec/security.md 8): refused for a while, and only they. The decoder that crashes is
tests/provider/mod_iip_crash.c, in a module of its own."""
import contextlib
import glob
import os
import re
import shutil
import signal
import subprocess
import threading
import time

import pytest

import conftest
import httpd
from common import refused

pytestmark = pytest.mark.skipif(conftest.ASAN, reason="the sanitizer ends the process its own way")
STATUS = "<Location /figures>\nSetHandler iip-status\nIIPStatus On\n</Location>\n"
WHOLE = "/full/max/0/default.png"


@pytest.fixture(scope="module")
def module(work):
    d = work + "/crash-%d" % os.getpid()
    shutil.rmtree(d, ignore_errors=True)
    os.makedirs(d)
    shutil.copy(httpd.TOP + "/tests/provider/mod_iip_crash.c", d)
    p = subprocess.run(["apxs", "-c", "-Wc,-Wall", "-Wc,-Wno-unused-parameter", "-I" + conftest.BUILD,
                        "mod_iip_crash.c"], cwd=d, capture_output=True, text=True)
    assert p.returncode == 0, p.stdout + p.stderr
    yield d + "/.libs/mod_iip_crash.so"
    shutil.rmtree(d)


def write(path, word):
    """A new file under that name, as an editor saves one."""
    with open(path + ".new", "w") as f:
        f.write("IIPCRASH %s\n" % word)
    os.rename(path + ".new", path)


@pytest.fixture
def site(folder, serve, module):
    """site(names, ...) -> a server with a file of each name, which is its word too."""
    def make(names, head="", **opt):
        for name in names:
            write("%s/%s" % (folder, name), name)
        conf = 'LoadModule iip_crash_module %s\n%s<Location /i>\nSetHandler iiif-handler\nIIPRoot "%s"\nIIPStatus On\n</Location>\n' % (module, head, folder)
        return serve(conf + STATUS, fresh=True, **opt)
    return make


def get(s, url):
    """None: the connection broke."""
    with contextlib.suppress(ConnectionError, TimeoutError):
        return s.get(url)


def slow_one(s):
    """The child that reads the slow file, once it does."""
    for _ in range(600):
        for pid in s.child_pids():
            for comm in glob.glob("/proc/%d/task/*/comm" % pid):
                with contextlib.suppress(OSError), open(comm) as f:
                    if f.read() == "iip-slow\n":
                        return pid
        time.sleep(0.005)
    raise AssertionError("nobody reads it")


def calm(s, lost):
    """Until the parent has seen that child end and another answers."""
    for _ in range(400):
        if lost not in s.child_pids() and s.child_pids() and get(s, "/figures"):
            return
        time.sleep(0.05)
    raise AssertionError("child %s is still there" % lost)


def blamed(s, n):
    """Files named in the log as those that crashed a child, once there are n."""
    for _ in range(200):
        names = re.findall(r"IIP0009: (\S+) crashed a child", s.logtext())
        if len(names) >= n:
            return names
        time.sleep(0.05)
    raise AssertionError("only %s" % names)


def quarantined(s):
    return s.get("/figures?format=json").json()["quarantined"]


WORDS = ["segv", "fpe", "ill", "abort", "stack", "header"]


@pytest.mark.any_mpm
@pytest.mark.log("IIP0009", "AH0005[12].*exit signal")
def test_crashes_once(site, mpm):
    """Whatever the signal is; then it is 500 in every child, description too, and the others are served."""
    words = WORDS if mpm == "event" else WORDS[-2:]
    s = site(words + ["good"], children=2, threads=4)
    if s.single:
        pytest.skip("one process")
    assert s.get("/i/good" + WHOLE).size == (64, 64) and quarantined(s) == 0
    for i, word in enumerate(words):
        assert get(s, "/i/%s%s" % (word, WHOLE)) is None, word
        assert sorted(blamed(s, i + 1)) == sorted(words[:i + 1])
    for _ in range(6):
        for word in words:
            for url in (WHOLE, "/info.json", "/0,0,9,9/max/0/default.jpg"):
                r = refused(s.get("/i/" + word + url), 500, "corrupt")
        assert s.get("/i/good" + WHOLE).status == s.get("/i/good/info.json").status == 200
    assert b"quarantine" in r.body
    assert sorted(blamed(s, 1)) == sorted(words) and quarantined(s) == len(words)
    assert "IIP0109" not in s.logtext()


@pytest.mark.any_mpm
@pytest.mark.log("IIP0009", "AH0005[12].*exit signal")
def test_innocent_in_the_same_child(site):
    """What another thread decodes meanwhile is lost with the child, and not blamed."""
    s = site(["segv", "slow"], children=1 if os.environ.get("IIP_MPM") != "prefork" else 3, threads=4)
    if s.single:
        pytest.skip("one process")
    answers = []
    t = threading.Thread(target=lambda: answers.append(get(s, "/i/slow" + WHOLE)))
    t.start()
    slow_one(s)
    assert get(s, "/i/segv" + WHOLE) is None
    t.join()
    assert answers == [None] or s.mpm == "prefork"
    assert blamed(s, 1) == ["segv"]
    assert get(s, "/i/slow" + WHOLE).status == 200
    refused(s.get("/i/segv" + WHOLE), 500, "corrupt")
    assert quarantined(s) == 1


@pytest.mark.any_mpm
@pytest.mark.log("AH0005[12].*exit signal")
def test_killed_from_outside(site):
    """It blames nothing, whatever was being decoded."""
    s = site(["slow"], children=1, threads=4)
    if s.single:
        pytest.skip("one process")
    for sig in (signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT):
        t = threading.Thread(target=get, args=(s, "/i/slow" + WHOLE))
        t.start()
        pid = slow_one(s)
        os.kill(pid, sig)
        t.join()
        calm(s, pid)
        assert quarantined(s) == 0
    assert get(s, "/i/slow" + WHOLE).status == 200
    assert "IIP0009" not in s.logtext()


@pytest.mark.any_mpm
@pytest.mark.log("IIP0009", "AH0005[12].*exit signal")
def test_ways_out(site, folder):
    """Another file under the name is another file; PURGE gives the same one another try; a graceful restart nothing."""
    s = site(["segv", "abort"], children=1, threads=4)
    if s.single:
        pytest.skip("one process")
    for n, word in enumerate(("segv", "abort")):
        assert get(s, "/i/%s%s" % (word, WHOLE)) is None
        blamed(s, n + 1)
    old = set(s.child_pids())
    s.graceful()
    for _ in range(400):
        if s.child_pids() and not old & set(s.child_pids()):
            break
        time.sleep(0.05)
    refused(s.get("/i/segv" + WHOLE), 500, "corrupt")
    write(folder + "/segv", "good")
    assert s.get("/i/segv" + WHOLE).status == 200
    assert s.request("PURGE", "/i/abort/info.json").status == 200 and quarantined(s) == 1
    assert get(s, "/i/abort" + WHOLE) is None
    blamed(s, 3)
    refused(s.get("/i/abort" + WHOLE), 500, "corrupt")
    assert quarantined(s) == 2
