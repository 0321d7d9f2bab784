#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the test suites and ends with one line "N passed, N failed[, N skipped]" over all of them.

run.py [--only SUITE[,SUITE]]   of those below; tsan and valgrind run only when named
Everything is built first, then three suites at a time run side by side: much of what they do is waiting.
What each says goes to build/check/SUITE.log; a failing suite's last lines are shown."""
import argparse
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), ".."))
PYTHON = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
LOGS = os.path.join(TOP, "build", "check")
SHOWN = 60  # lines of a failing step


class Suite:
    """One suite's counts and log."""

    def __init__(self, name):
        self.name, self.passed, self.failed, self.skipped, self.trouble = name, 0, 0, 0, []
        self.log = open(os.path.join(LOGS, name + ".log"), "w")

    def add(self, passed, failed, skipped=0):
        self.passed += passed
        self.failed += failed
        self.skipped += skipped

    def check(self, good, what, text=""):
        """One test of the suite's own."""
        self.add(int(bool(good)), int(not good))
        if not good:
            self.show(what, text)

    def show(self, what, text):
        self.trouble += ["  FAILED %s" % what] + ["    " + line[:300] for line in text.rstrip().splitlines()[-SHOWN:]]

    def run(self, *command, env=None, stdin=None, timeout=1200):
        """(exit status, all it said)"""
        self.log.write("\n$ %s\n" % " ".join(command))
        self.log.flush()
        try:
            p = subprocess.run(command, cwd=TOP, env=dict(os.environ, **(env or {})), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               input=stdin, timeout=timeout)
            rc, out = p.returncode, p.stdout.decode("utf-8", "replace")
        except subprocess.TimeoutExpired as e:
            rc, out = 124, (e.stdout or b"").decode("utf-8", "replace") + "\nended after %d s" % timeout
        self.log.write(out)
        self.log.flush()
        return rc, out

    def make(self, *words):
        rc, out = self.run("make", "--no-print-directory", "-j2", *words)
        self.check(rc == 0, "make " + " ".join(words), out)
        return rc == 0

    def counted(self, what, rc, out, found):
        """Counts that the command itself closed with; none, or a failure that it did not count, is a failure."""
        if found is None:
            return self.check(False, what + " (no counts, exit status %d)" % rc, out)
        passed, failed, skipped = found
        if rc != 0 and failed == 0 or passed + failed + skipped == 0:
            failed += 1
        self.add(passed, failed, skipped)
        if failed:
            self.show(what, out)

    def units(self, folder, names=None, env=None, before=()):
        programs = sorted(p for p in glob.glob(os.path.join(TOP, folder, "unit", "test_*")) if "." not in os.path.basename(p))
        for p in programs:
            name = os.path.basename(p)
            if names is None or name in names:
                rc, out = self.run(*before, os.path.relpath(p, TOP), env=env, timeout=300)
                self.counted(folder + "/unit/" + name, rc, out, cmocka(out))


def cmocka(out):
    """Sums what each group of a cmocka program reports at its end."""
    good = re.findall(r"^\[  PASSED  \] (\d+) test", out, re.M)
    if not good:
        return None
    add = lambda word: sum(map(int, re.findall(r"^\[  %s \] (\d+) test" % word, out, re.M)))  # noqa: E731
    return sum(map(int, good)), add("FAILED "), add("SKIPPED")


def closing(out):
    """The last line that counts: ours, pytest's or the browser tests'."""
    for line in reversed(out.splitlines()):
        if re.search(r"\d+ (passed|failed|error)", line):
            n = {word: int(num) for num, word in re.findall(r"(\d+) (passed|failed|error|skipped)", line)}
            return n.get("passed", 0), n.get("failed", 0) + n.get("error", 0), n.get("skipped", 0)
    return None


def build(s):
    """Everything compiles, warnings are errors."""
    s.make("all", "units", "fuzzers") and sanitized(s) and plain_units(s)


def lint(s):
    rc, out = s.run("sh", "tests/lint.sh", "build")
    s.counted("tests/lint.sh", rc, out, closing(out))


def unit(s):
    if s.make("units"):
        s.units("build")


SANITIZE = {"ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1", "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1"}


def sanitized(s):
    return s.make("BUILD=build/asan", "SAN=address,undefined", "all", "units", "fuzzers")


def fuzz(s):
    """Each fuzzer over its corpus, under sanitizers."""
    if not sanitized(s):
        return
    for target in sorted(glob.glob(os.path.join(TOP, "tests", "fuzz", "fuzz_*.c"))):
        name = os.path.basename(target)[5:-2]
        corpus = os.path.join("tests", "fuzz", "corpus", name)
        n = len(glob.glob(os.path.join(TOP, corpus, "*")))
        rc, out = s.run("build/asan/fuzz/fuzz_" + name, corpus, env=SANITIZE, timeout=300)
        s.check(rc == 0 and n > 0, "fuzz_%s over %d files" % (name, n), out)


def pytest(s, mpm, *words, env=None):
    env = dict(env or {}, IIP_WORK=os.path.join(TOP, "build", "http-" + s.name))
    rc, out = s.run(PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", "--mpm=" + mpm, *words, env=env, timeout=1200)
    s.counted("http under " + mpm, rc, out, closing(out))


def asan(s):
    """The units, and a short http run of httpd -X with the module built for sanitizers."""
    if not sanitized(s):
        return
    s.units("build/asan", env=SANITIZE)
    pytest(s, "event", "-m", "not slow", *["tests/http/test_%s.py" % f for f in ("vectors", "uri", "names", "files", "answers", "pixels", "stability",
                                                                                   "iip", "jpip", "thumb", "purge")],
           env={"IIP_BUILD": "build/asan", "IIP_ASAN": "1"})


def plain_units(s):
    names = sorted(os.path.basename(p)[:-2] for p in glob.glob(os.path.join(TOP, "tests/unit/test_*.c")) if "strips.h" in open(p).read())
    return names if s.make("BUILD=build/plain", "PLAIN_C=1", *["build/plain/unit/" + n for n in names]) else []


def plain(s):
    """The plain C twins of vectorised loops: the tests of stages, which all use strips.h."""
    s.units("build/plain", plain_units(s))


MEMCHECK = ("valgrind", "-q", "--error-exitcode=99", "--leak-check=full", "--errors-for-leak-kinds=definite")


def tool(s):
    """The worked vectors through build/iip, once more under valgrind."""
    sys.path[:0] = [os.path.join(TOP, "tests", "http"), os.path.join(TOP, "tests", "data")]
    from PIL import Image
    from test_vectors import ROWS

    Image.MAX_IMAGE_PIXELS = None
    data = os.path.join(TOP, "build", "data")
    rc, out = s.run(PYTHON, "tests/data/make_data.py")
    s.check(rc == 0, "tests/data/make_data.py", out)
    settings = {"v3": ["IIIFVersions 3", "IIPMaxSize 10000", "IIPMaxArea 0", "IIPMaxMemory 1G"],
                "v2": ["IIIFVersions 2", "IIPMaxSize 10000", "IIPMaxArea 0", "IIPMaxMemory 1G"],
                "v3w200": ["IIPMaxSize 200", "IIPMaxArea 0"], "v2w200": ["IIIFVersions 2", "IIPMaxSize 200", "IIPMaxArea 0"],
                "v3w360": ["IIPMaxSize 360", "IIPMaxArea 0"], "v3area": ["IIPMaxSize 10000", "IIPMaxArea 4000000"],
                "v3noup": ["IIPMaxSize 10000", "IIPMaxArea 0", "IIPUpscaling Off"]}
    with tempfile.TemporaryDirectory() as tmp:
        for n, loc, pic, request, want, _ in ROWS:
            body = os.path.join(tmp, "body")
            args = ["build/iip", "-r", data, "-o", body]
            for d in settings[loc]:
                args += ["-s", d]
            rc, out = s.run(*args, stdin=("/%s.tif/%s\n" % (pic, request)).encode())
            if isinstance(want, int):
                s.check(rc != 0 and out.startswith("%d " % want), "vector %s: %d" % (n, want), out)
            else:
                size = Image.open(body).size if rc == 0 else None
                s.check(rc == 0 and out.startswith("200 ") and (want is None or size == want), "vector %s: %s" % (n, want), "%s %s" % (out, size))
        # one process, many lines; small ones, for valgrind is slow
        lines = "".join("/%s.tif/%s\n" % (r[2], r[3]) for r in ROWS if r[1] == "v3" and isinstance(r[4], tuple) and r[4][0] <= 1500)
        lines += "/b.tif/info.json\n/b.jpg/full/100,/10/gray.png\n"
        args = ["build/iip", "-r", data, "-o", os.path.join(tmp, "all"), "-t"]
        rc, out = s.run(*args, stdin=lines.encode())
        s.check(rc == 0 and out.count("200 ") >= lines.count("\n"), "many lines", out)
        rc, out = s.run(*args[:1], "-r", data, stdin=b"/b.tif/info.json\n/none.tif/info.json\nrubbish\n")
        s.check(rc != 0, "exit status of a bad request", out)
        rc, out = s.run(*MEMCHECK, *args, stdin=lines.encode())
        s.check(rc == 0, "under valgrind", out)


def http(s):
    """Under event; two files at a time, for most of it is waiting."""
    pytest(s, "event", "-n", "2", "--dist", "loadfile", "tests/http")


def mpms(s):
    """What depends on processes and threads under the other MPMs too."""
    for mpm in ("worker", "prefork"):
        pytest(s, mpm, "-m", "any_mpm", "tests/http")


def browser(s):
    if not os.path.exists(os.path.join(TOP, "tests", "browser", "run.sh")):
        s.check(False, "tests/browser/run.sh is missing")
        return
    rc, out = s.run("sh", "tests/browser/run.sh")
    s.counted("tests/browser/run.sh", rc, out, closing(out))


THREADED = ("test_ahead", "test_cache", "test_cells", "test_readers", "test_source", "test_serve")


def tsan(s):
    """The threaded units under ThreadSanitizer."""
    if s.make("BUILD=build/tsan", "SAN=thread", "units"):
        aslr = ["setarch", "-R"] if shutil.which("setarch") else []  # gcc 12's library knows fewer address layouts than kernels do
        s.units("build/tsan", THREADED, {"TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1"}, aslr)


# What reads bytes from outside. Not those whose files come from LERC's encoder: some of its bytes are never written.
PARSERS = ("test_path", "test_iiif", "test_iiif_info", "test_meta", "test_tiff_codecs", "test_tiff_jpeg", "test_tiff_ojpeg",
           "test_tiff_limits", "test_png_read", "test_webp", "test_gif")


def valgrind(s):
    """The worked vectors, and the units of parsers, under memcheck."""
    tool(s)
    if s.make("units"):
        s.units("build", PARSERS, before=MEMCHECK)


def demo(s):
    """What `make demo` starts looks itself over, every picture over one kept connection, and leaves nothing behind."""
    rc, out = s.run(PYTHON, "tests/demo/demo.py", "--once", timeout=600)
    s.check(rc == 0, "tests/demo/demo.py --once", out)


SUITES = [http, asan, mpms, browser, tool, unit, plain, demo, fuzz, lint]  # the long ones first
NAMED = [tsan, valgrind]


def run(f):
    """One suite."""
    print("%s ..." % f.__name__, flush=True)
    s, t = Suite(f.__name__), time.time()
    try:
        f(s)
    except Exception as e:
        s.check(False, "%s: %s: %s" % (f.__name__, type(e).__name__, e))
    s.log.close()
    print("\n".join(s.trouble + ["%-8s %d passed, %d failed%s (%.0f s)" % (
        f.__name__, s.passed, s.failed, ", %d skipped" % s.skipped if s.skipped else "", time.time() - t)]), flush=True)
    return s


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--only", default="", help="names, with commas between")
    only = [n for n in ap.parse_args().only.split(",") if n]
    known = {f.__name__: f for f in [build] + SUITES + NAMED}
    bad = [n for n in only if n not in known]
    if bad:
        ap.error("no suite %s; there are %s" % (", ".join(bad), " ".join(known)))
    os.makedirs(LOGS, exist_ok=True)
    done = [run(known[n]) for n in only or ["build"]]
    if not only and not done[0].failed:  # else nothing could tell more
        rest = iter(SUITES)

        def work():
            for f in rest:
                done.append(run(f))

        workers = [threading.Thread(target=work) for _ in range(3)]
        for w in workers:
            w.start()
        for w in workers:
            w.join()
    total = [sum(s.passed for s in done), sum(s.failed for s in done), sum(s.skipped for s in done)]
    print("%d passed, %d failed" % tuple(total[:2]) + (", %d skipped" % total[2] if total[2] else ""))
    return 1 if total[1] or not total[0] else 0


if __name__ == "__main__":
    sys.exit(main())
