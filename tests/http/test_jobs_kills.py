# SPDX-License-Identifier: Apache-2.0
"""Jobs while all that can be killed is killed (spec/imgserve.md section 12, case 6)."""
import contextlib
import os
import random
import signal
import time

import pytest

from jobs import LOOPBACK, Jobs, is_result, picture

SOAK = int(os.environ.get("IIP_SOAK", 0))  # jobs


def children(pid):
    with contextlib.suppress(OSError), open("/proc/%d/task/%d/children" % (pid, pid)) as f:
        return [int(p) for p in f.read().split()]
    return []


def kill_one(server, rnd):
    """A child, a runner, a job's process, or the parent, after which the server is started again."""
    answering = server.child_pids()
    runners = [p for p in children(server.proc.pid) if p not in answering]
    kind = rnd.choice([answering, runners, runners, [p for r in runners for p in children(r)], None if SOAK else []])
    if kind is None:
        server.proc.kill()
        server.proc.wait()
        time.sleep(rnd.random() / 2)  # its runners end by themselves, its children are in nobody's hands
        with contextlib.suppress(OSError):
            os.killpg(server.proc.pid, signal.SIGKILL)
        os.unlink(os.path.join(server.dir, "httpd.pid"))  # it tells start() when the new one is up
        server.start()
    elif kind:
        with contextlib.suppress(OSError):
            os.kill(rnd.choice(kind), signal.SIGKILL)


@pytest.mark.any_mpm
def test_kills(folder, serve, peer):
    """Whatever is killed or restarted: each accepted job is done, none is left behind. `make soak` is the long one."""
    jobs = Jobs(serve, folder, LOOPBACK + "IIPJobRetries 1000")
    rnd = random.Random(5)
    number = SOAK or 40
    with open(jobs.path("in/a.jpg"), "wb") as f:
        f.write(picture(1200, 1200, "JPEG"))
    taken, restart = {}, time.time() + 2
    for i in range(number):
        while i not in taken:
            with contextlib.suppress(OSError, ValueError, AssertionError):
                r = jobs.post("file:///a.jpg", "file:///k/%d.png" % i)
                if r.status == 200 and "id" in r.json():
                    taken[i] = r.json()["id"]
            if not SOAK or jobs.server.proc.poll() is not None:
                break
        if rnd.random() < 0.5:
            kill_one(jobs.server, rnd)
        if jobs.server.proc.poll() is not None:  # by a signal in its first moments
            jobs.server.start()
        if time.time() > restart:
            jobs.server.proc.send_signal(rnd.choice([signal.SIGUSR1, signal.SIGHUP]))
            restart = time.time() + 2
        if SOAK:
            time.sleep(rnd.random() / 4)
    assert len(taken) > number * 0.6
    time.sleep(1)  # the last restart
    for i, id in taken.items():
        s = jobs.wait(id, 60)
        assert s["state"] == "done", s
        with open(jobs.path("out/k/%d.png" % i), "rb") as f:
            assert is_result(f.read())
    until = time.time() + 30  # those whose reply did not come are done as well
    while time.time() < until and os.listdir(jobs.path("spool/queue")) + os.listdir(jobs.path("spool/run")):
        time.sleep(0.2)
    for name in ("queue", "run", "dead"):
        assert os.listdir(jobs.path("spool", name)) == []
    assert [n for n in os.listdir(jobs.path("out/k")) if n.startswith(".")] == []
    done = os.listdir(jobs.path("spool/done"))
    assert set(taken.values()) <= set(done) and len(done) < 2 * number


# "long lost child": a runner of the configuration before, done with its last job
test_kills = pytest.mark.log(r"AH00167|AH00291|AH00488|AH00052|AH00051|IIP0205|exit signal Killed|AH00493|AH00494|AH00163|AH00094|AH00098|AH00046|AH01239")(test_kills)
