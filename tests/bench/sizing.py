#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What README's sum for a fleet rests on: computing time of an answer by where it comes from, and whether a mixture costs
what those figures foretell; memory of children, and bytes in memcached, against theirs. Prints rows for README."""
import os
import random
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(TOP, "tests", "http"), os.path.join(TOP, "tests", "data")]
import httpd  # noqa: E402
from stores import Memcached, wait_stored  # noqa: E402

DATA = os.path.join(TOP, "build", "data")
STATUS = "<Location /figures>\nSetHandler iip-status\nIIPStatus On\n</Location>\n"
CHILDREN = 2


def tiles(name, whole):
    """Regions of 256 x 256: tiles of the file, or others, which have to be made."""
    off = 0 if whole else 128
    return ["/i/%s/%d,%d,256,256/256,256/0/default.jpg" % (name, x, y)
            for y in range(off, 1600 - 256, 256) for x in range(off, 2560 - 256, 256)]


def cpu(s):
    """Seconds of computing of all children so far."""
    total = 0
    for pid in s.child_pids():
        with open("/proc/%d/stat" % pid) as f:
            words = f.read().rsplit(")", 1)[1].split()
        total += int(words[11]) + int(words[12])
    return total / os.sysconf("SC_CLK_TCK")


def load(s, paths):
    """(milliseconds of computing, mean bytes) of an answer."""
    c, before, size = s.connect(), cpu(s), 0
    for p in paths:
        r = c.request("GET", p)
        assert r.status == 200, r
        size += len(r.body)
    c.close()
    return (cpu(s) - before) * 1000 / len(paths), size / len(paths)


def server(work, more):
    conf = "%s<Location /i>\nSetHandler iiif-handler\nIIPRoot %s\n</Location>\n%s" % (more, DATA, STATUS)
    return httpd.Server(work, "event", conf, children=CHILDREN, module_so=os.path.join(TOP, "build", "mod_iip.so")).start()


def came(s):
    return s.get("/figures?format=json").json()["pictures"]


def main():
    rng = random.Random(3)
    made, raw = tiles("photo_deflate.tif", False), tiles("photo.tif", True)
    with tempfile.TemporaryDirectory() as work:
        os.chmod(work, 0o755)
        m = Memcached()
        second = "IIPMemcached 127.0.0.1:%d\nIIPMemcachedDeadline 1s\n" % m.port
        cost = {}
        s = server(work, "IIPCacheSize 0 0\n")
        cost["miss"], size = load(s, made * 12)
        cost["raw"], _ = load(s, raw * 60)
        s.stop()
        s = server(work, "IIPCacheSize 0 0\n" + second)
        load(s, made)
        wait_stored(len(made), m)
        cost["shared"], _ = load(s, made * 60)
        print("memcached: %d answers of %.0f bytes, %.0f bytes each with all" % (len(made), size, m.stat("bytes") / len(made)))
        s.stop()
        s = server(work, "")
        load(s, made * 8)
        cost["hit"], _ = load(s, made * 60)
        s.stop()
        print("ms of computing: " + ", ".join("%s %.3f" % kv for kv in cost.items()))
        # a mixture: few of the tiles fit into the children's store
        s = server(work, "IIPCacheSize 200K 0\n" + second)
        some = made[:len(made) // 2] + raw[:20]
        fresh = iter(["/i/photo_deflate.tif/%d,%d,256,256/256,256/0/default.jpg" % (rng.randrange(2300), rng.randrange(1340)) for _ in range(1500)])
        load(s, some)
        time.sleep(1)
        before, paths = came(s), [rng.choice(some) if rng.random() < 0.8 else next(fresh) for _ in range(5000)]
        ms, _ = load(s, paths)
        shares = {k: v - before[k] for k, v in came(s).items()}
        told = sum(cost.get(k, cost["hit"]) * v for k, v in shares.items()) / len(paths)
        print("mixture %s: %.3f ms an answer, foretold %.3f" % (shares, ms, told))
        s.stop()
        m.kill()
        # memory: the stores are full
        for one, two in ((10, 32), (64, 64)):
            s = server(work, "IIPCacheSize %dM %dM\n" % (one, two))
            rest = 0
            for pid in s.child_pids():
                with open("/proc/%d/smaps_rollup" % pid) as f:
                    rest += next(int(x.split()[1]) for x in f if x.startswith("Pss:"))
            for _ in range(12):
                httpd.parallel(4, s.get, ["/i/%s/%d,%d,256,256/256,256/0/default.png" % (
                    rng.choice(("photo_deflate.tif", "photo.tif")), rng.randrange(2300), rng.randrange(1340)) for _ in range(400)])
            full = 0
            for pid in s.child_pids():
                with open("/proc/%d/smaps_rollup" % pid) as f:
                    full += next(int(x.split()[1]) for x in f if x.startswith("Pss:"))
            f = s.get("/figures?format=json").json()
            print("IIPCacheSize %dM %dM, %d children: %.0f MB, at their beginning %.0f; held %.0f MB" % (
                one, two, CHILDREN, full / 1024, rest / 1024, sum(f["cache_used"][k] for k in ("cell", "output")) / 2**20))
            s.stop()


if __name__ == "__main__":
    main()
