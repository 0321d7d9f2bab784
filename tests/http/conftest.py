# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the http tests. The MPM comes from --mpm or IIP_MPM; other ways to run from the environment:

IIP_BUILD   build folder that holds mod_iip.so (default build)
IIP_ASAN    1: that module is a sanitizer build; httpd runs with -X and the compiler's libraries preloaded
IIP_WORK    folder for servers and their files (default build/http; a temporary one where httpd's user cannot reach that)

A test gets servers from `serve(configuration)`: equal configurations share one. After each test the error logs of the
servers it used must hold no line at warn or above, but those matched by `@pytest.mark.log(regex, ...)`, and never a
child that ended by a signal or a sanitizer's report."""
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections import OrderedDict

import pytest

sys.path[:0] = [os.path.dirname(__file__), os.path.join(os.path.dirname(__file__), "..", "data")]
import httpd  # noqa: E402
import peers  # noqa: E402

BUILD = os.path.join(httpd.TOP, os.environ.get("IIP_BUILD", "build"))
ASAN = os.environ.get("IIP_ASAN") == "1"
KEEP = 6  # servers alive at once


def pytest_addoption(parser):
    parser.addoption("--mpm", default=os.environ.get("IIP_MPM", "event"), help="prefork, worker or event")


def pytest_configure(config):
    os.environ["IIP_MPM"] = config.getoption("--mpm")  # for tests that lay out their servers by it
    config.addinivalue_line("markers", "log(regex, ...): lines at warn or above that this test expects in the error log")
    config.addinivalue_line("markers", "any_mpm: run under every MPM; the rest runs under event")
    config.addinivalue_line("markers", "slow: left out of sanitizer runs")
    config.addinivalue_line("markers", "threaded: needs an MPM with threads")


def pytest_collection_modifyitems(config, items):
    mpm = config.getoption("--mpm")
    for item in items:
        if mpm == "prefork" and item.get_closest_marker("threaded"):
            item.add_marker(pytest.mark.skip(reason="needs threads"))
        if ASAN and item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="too slow under sanitizers"))


def preload():
    """Paths of the compiler's own sanitizer libraries; without libubsan its reports vanish."""
    libs = []
    for name in ("libasan.so", "libubsan.so"):
        p = subprocess.run(["gcc", "-print-file-name=" + name], capture_output=True, text=True, check=True)
        libs.append(os.path.realpath(p.stdout.strip()))
    return ":".join(libs)


@pytest.fixture(scope="session")
def mpm(request):
    return request.config.getoption("--mpm")


@pytest.fixture(scope="session")
def work():
    """A folder that httpd's user can reach."""
    own = os.environ.get("IIP_WORK") or os.path.join(httpd.TOP, "build", "http")
    own += os.environ.get("PYTEST_XDIST_WORKER", "")  # of several processes side by side each has its own
    os.makedirs(own, exist_ok=True)
    os.chmod(own, 0o755)
    w = own if httpd.reachable(own) else tempfile.mkdtemp(prefix="mod_iip-")
    os.chmod(w, 0o755)
    yield w
    if w != own:
        shutil.rmtree(w, ignore_errors=True)


@pytest.fixture(scope="session")
def data(work):
    """The pictures, made once by tests/data/make_data.py."""
    made = os.path.join(httpd.TOP, "build", "data")
    subprocess.run(["/usr/bin/python3", os.path.join(httpd.TOP, "tests", "data", "make_data.py"), made], check=True)
    if httpd.reachable(made):
        return made
    there = os.path.join(work, "data")
    subprocess.run(["cp", "-aT", "--sparse=always", made, there], check=True)
    return there


class Farm:
    """Running servers by configuration, least recently used ones are stopped."""

    def __init__(self, work, mpm):
        self.work, self.mpm, self.live, self.late = work, mpm, OrderedDict(), []
        self.used = set()

    def options(self, opt):
        opt = dict(opt)
        so = opt.pop("module", True)
        if so is True:
            opt["module_so"] = os.path.join(BUILD, "mod_iip.so")
            assert os.path.exists(opt["module_so"]), "build the module first"
        if ASAN:
            opt["single"] = True
            opt["env"] = dict(opt.get("env") or {}, LD_PRELOAD=preload(), **SANITIZE)
        return opt

    def serve(self, conf, **opt):
        key = (conf, repr(sorted(opt.items())))
        s = self.live.pop(key, None)
        if s is None or s.proc is None or s.proc.poll() is not None:
            while len(self.live) >= KEEP:
                self.retire(next(iter(self.live)))
            s = httpd.Server(self.work, self.mpm, conf, **self.options(opt)).start()
        self.live[key] = s
        self.used.add(s)
        return s

    def unstarted(self, conf, **opt):
        return httpd.Server(self.work, self.mpm, conf, **self.options(opt))

    def retire(self, key):
        s = self.live.pop(key)
        if s.proc is not None:
            self.late += [(s.conf, bad) for bad in s.stop()]


SANITIZE = {
    "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0:handle_abort=1:detect_stack_use_after_return=1:alloc_dealloc_mismatch=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=0",
}


@pytest.fixture(scope="session")
def farm(work, mpm):
    f = Farm(work, mpm)
    yield f
    for key in list(f.live):
        f.retire(key)
    assert not f.late, "at the end of a server: %s" % f.late
    shutil.rmtree(os.path.join(work, "server"), ignore_errors=True)


@pytest.fixture
def serve(farm, data, request):
    """serve(conf, children=1, threads=16, modules=(), fresh=False) -> running Server; {data} in conf is the pictures' folder."""
    farm.used = set()
    own = []

    def make(conf, fresh=False, **opt):
        conf = conf.replace("{data}", data)
        if fresh:  # a child with cold caches, of this test alone
            s = httpd.Server(farm.work, farm.mpm, conf, **farm.options(opt)).start()
            own.append(s)
            farm.used.add(s)
            return s
        return farm.serve(conf, **opt)

    yield make
    expected = [a for m in request.node.iter_markers("log") for a in m.args]
    bad = []
    for s in own:
        bad += [x for x in s.complaints(expected)]
        if s.proc is not None:
            bad += s.stop()
    for s in farm.used:
        bad += s.complaints(expected)
        if s.proc is not None and s.proc.poll() is not None:
            bad.append("httpd ended during the test")
    late, farm.late = farm.late, []
    assert not bad, "error log:\n" + "\n".join(bad)
    assert not late, "at the end of an earlier server: %s" % late


@pytest.fixture
def configtest(farm, data):
    """configtest(conf) -> (exit status, everything `httpd -t` said)"""
    return lambda conf, **opt: farm.unstarted(conf.replace("{data}", data), **opt).configtest()


@pytest.fixture
def folder(work, request):
    """An empty folder of this test's own that httpd's user can read."""
    name = hashlib.sha1(request.node.nodeid.encode()).hexdigest()[:10]
    d = os.path.join(work, "tmp", "%s-%d" % (name, os.getpid()))
    shutil.rmtree(d, ignore_errors=True)
    os.makedirs(d)
    os.umask(0o022)
    yield d
    subprocess.run(["chmod", "-R", "u+rwX", d])
    shutil.rmtree(d, ignore_errors=True)


@pytest.fixture
def peer():
    """A server that jobs fetch from and deliver to."""
    p = peers.Peer()
    yield p
    p.close()
