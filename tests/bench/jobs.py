#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Rows of `make bench` about image jobs (spec/imgserve.md section 12): a photograph of 24 million pixels to 200 x 120 beside
vipsthumbnail, jobs taken beside the bare steps of their files. By itself: prints them."""
import contextlib
import http.client
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'demo'))

import samples  # noqa: E402
from httpd import Httpd, account  # noqa: E402

JOBS = 20
TAKE_SECONDS, ROUNDS = 1, 5
BODY = '''
IIPJobSpool {run}/spool
IIPJobWorkers {workers}
<Location /jobs>
    SetHandler imgserve-handler
    IIPJobs On
    IIPJobAllowAnonymous On
    IIPJobSourceSchemes file
    IIPJobSourceRoot {run}/in
    IIPJobDestRoot {run}/out
</Location>
'''
POST = '''
wrk.method = "POST"
wrk.path = "/jobs"
wrk.body = [[%s]]
response = function(status, headers, body) if not body:find("dstURL") then bad = (bad or 0) + 1 end end
done = function(summary) print(summary.requests / summary.duration * 1e6) end
'''


def children(pid):
    with contextlib.suppress(OSError), open(f'/proc/{pid}/task/{pid}/children') as f:
        return [int(p) for p in f.read().split()]
    return []


def used(pids):
    """CPU seconds of processes and of their children that ended."""
    ticks = 0
    for p in pids:
        with open(f'/proc/{p}/stat') as f:
            ticks += sum(int(v) for v in f.read().rsplit(')', 1)[1].split()[11:15])
    return ticks / os.sysconf('SC_CLK_TCK')


class Peak(threading.Thread):
    """The most that any process below some others was seen to hold, in bytes, without what it shares with them."""

    def __init__(self, pids):
        super().__init__(daemon=True)
        self.pids, self.most, self.on = pids, 0, True

    def run(self):
        while self.on:
            for job in [c for p in self.pids for c in children(p)]:
                for p in [job] + children(job):
                    with contextlib.suppress(OSError, ValueError, IndexError), open(f'/proc/{p}/smaps_rollup') as f:
                        self.most = max(self.most, sum(int(line.split()[1]) for line in f if line.startswith('Private_')) * 1024)
            time.sleep(0.002)


def job(source, name):
    return {'operationType': 'resize', 'srcURL': f'file:///{source}', 'dstURL': f'file:///{name}', 'placeholder': False,
            'args': {'width': 200, 'height': 120}}


def work(server, source):
    """(CPU ms a job, peak bytes) of JOBS jobs, from the first to the last one's end."""
    runners = [p for p in children(server.pid) if len(os.listdir(f'/proc/{p}/task')) == 1]
    link = http.client.HTTPConnection('127.0.0.1', server.port, timeout=60)

    def ask(method, path, body=None):
        link.request(method, path, json.dumps(body) if body else None)
        return json.loads(link.getresponse().read())

    peak, before = Peak(runners), used(runners)
    peak.start()
    ids = [ask('POST', '/jobs', job(source, f'{source}-{i}.jpg'))['id'] for i in range(JOBS)]
    until = time.time() + 120
    while ids and time.time() < until:
        state = ask('GET', f'/jobs/{ids[0]}')
        if state['state'] == 'failed':
            sys.exit(f'a job failed: {state}')
        if state['state'] == 'done':
            ids.pop(0)
        else:
            time.sleep(0.02)
    peak.on = False
    peak.join()
    if ids:
        sys.exit('jobs do not end')
    return (used(runners) - before) / JOBS * 1000, peak.most


def vipsthumbnail(source, out):
    took = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(['vipsthumbnail', source, '--size', '200x120', '--smartcrop', 'centre', '-o', out], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(took) * 1000


def bare(folder, size):
    """The steps of a job's file, a second: written, on the disk, renamed, the name on the disk."""
    folder = tempfile.mkdtemp(dir=folder)
    a, b = os.path.join(folder, 'bare-a'), os.path.join(folder, 'bare-b')
    os.mkdir(a)
    os.mkdir(b)
    at, n, until = os.open(b, os.O_RDONLY), 0, time.time() + TAKE_SECONDS
    data = b'x' * size
    while time.time() < until:
        fd = os.open(f'{a}/{n}', os.O_WRONLY | os.O_CREAT, 0o600)
        os.write(fd, data)
        os.fdatasync(fd)
        os.close(fd)
        os.rename(f'{a}/{n}', f'{b}/{n}')
        os.fsync(at)
        n += 1
    os.close(at)
    return n / TAKE_SECONDS


def taken(server, run):
    """Jobs taken a second, by one client."""
    script = os.path.join(run, 'post.lua')
    with open(script, 'w') as f:
        f.write(POST % json.dumps(job('base.jpg', 'x.jpg')))
    done = subprocess.run(['wrk', '-t1', '-c1', f'-d{TAKE_SECONDS}s', '-s', script, server.url], capture_output=True, text=True, check=True)
    return float(done.stdout.strip().splitlines()[-1])


def rows():
    """[(name, ours, peer, ratio or None, goal)], texts."""
    out = []
    with tempfile.TemporaryDirectory(prefix='mod_iip-jobs-', dir='/var/tmp') as run:
        os.chmod(run, 0o755)
        for name in ('in', 'out', 'work', 'take'):
            os.mkdir(os.path.join(run, name))
            if account():
                os.chown(os.path.join(run, name), account().pw_uid, account().pw_gid)
        whole = os.path.join(run, 'whole.v')
        samples.vips('resize', samples.photograph(samples.PHOTOGRAPHS[0]), whole, '2.5')
        samples.vips('extract_area', whole, os.path.join(run, 'cut.v'), '0', '0', *map(str, dimensions(whole)))
        for name, more in (('base', []), ('progressive', ['--interlace'])):
            samples.vips('jpegsave', os.path.join(run, 'cut.v'), os.path.join(run, 'in', name + '.jpg'), '--Q', '90', *more)
        with Httpd(os.path.join(run, 'work'), BODY.format(run=run, workers=1)) as server:
            for name in ('base', 'progressive'):
                source = os.path.join(run, 'in', name + '.jpg')
                ours, most = work(server, name + '.jpg')
                peer = vipsthumbnail(source, os.path.join(run, 'thumb.jpg'))
                goal = '0.55x, 60 MB' if name == 'base' else '70 ms, 160 MB'
                out.append((f'24 MP {name} to 200 x 120', f'{ours:.0f} ms, {most / 1e6:.0f} MB', f'vipsthumbnail {peer:.0f} ms',
                            f'{ours / peer:.2f}x', goal))
        with Httpd(os.path.join(run, 'take'), BODY.format(run=run + '/take', workers=0)) as server:
            taken(server, run)
            files = os.path.join(run, 'take', 'spool', 'queue')
            size = os.path.getsize(os.path.join(files, os.listdir(files)[0]))
            pairs = [(taken(server, run), bare(run, size)) for _ in range(ROUNDS)]
        out.append(('jobs taken a second, durably', f'{statistics.median(a for a, _ in pairs):.0f}',
                    f'bare steps {statistics.median(b for _, b in pairs):.0f}', f'{statistics.median(a / b for a, b in pairs):.2f}x', '0.5x'))
    return out


def dimensions(name):
    """What is cut out: 6000 x 4000, or as much of it as there is."""
    have = [int(subprocess.run(['vipsheader', '-f', field, name], capture_output=True, text=True, check=True).stdout)
            for field in ('width', 'height')]
    return min(6000, have[0]), min(4000, have[1])


def table():
    return '\n'.join(['| jobs | mod_iip | beside | ratio | goal |', '|------|--------:|-------:|------:|-----:|',
                      *('| ' + ' | '.join(row) + ' |' for row in rows())])


if __name__ == '__main__':
    print(table())
