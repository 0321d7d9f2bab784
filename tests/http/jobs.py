# SPDX-License-Identifier: Apache-2.0
"""A server that takes image jobs, and pictures for it."""
import io
import json
import os
import shutil
import time

from PIL import Image

import httpd

OPEN = """
IIPJobSpool "{spool}"
IIPJobWorkers {workers}
IIPStatus On
<Location /iip-status>
    SetHandler iip-status
    Require all granted
</Location>
<Location /jobs>
    SetHandler imgserve-handler
    Require {require}
    IIPJobs On
    IIPJobAllowAnonymous On
    IIPJobSourceSchemes http https ftp ftps file
    IIPJobDestSchemes http https ftp ftps file
    IIPJobDestHosts *
    IIPJobSourceRoot "{in}"
    IIPJobDestRoot "{out}"
    %s
</Location>
"""
LOOPBACK = "IIPJobAllowNet 127.0.0.0/8 ::1/128\n    IIPJobPorts any\n"


class Jobs:
    def __init__(self, serve, folder, extra="", head="", workers=2, require="all granted", **opt):
        self.folder = folder
        for n in ("in", "out"):
            os.makedirs(os.path.join(folder, n), exist_ok=True)
        if httpd.ROOT:
            shutil.chown(os.path.join(folder, "out"), "www-data", "www-data")
            os.makedirs(os.path.join(folder, "s"), exist_ok=True)
        conf = head + (OPEN % extra).replace("{workers}", str(workers)).replace("{require}", require)
        for k, v in (("spool", "spool"), ("in", "in"), ("out", "out")):
            conf = conf.replace("{%s}" % k, os.path.join(folder, v))
        self.server = serve(conf, fresh=True, **opt)

    def path(self, *p):
        return os.path.join(self.folder, *p)

    def ask(self, method, target, body=None, headers=None):
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
        return self.server.request(method, target, headers, body)

    def post(self, src, dst, args=None, op="resize", **more):
        job = dict(operationType=op, srcURL=src, dstURL=dst, args=dict({"width": 200, "height": 120}, **(args or {})))
        return self.ask("POST", "/jobs", dict(job, **more))

    def state(self, id):
        return self.ask("GET", "/jobs/" + id).json()

    def wait(self, id, seconds=40):
        until = time.time() + seconds
        while time.time() < until:
            s = self.state(id)
            if s["state"] in ("done", "failed", "cancelled"):
                return s
            time.sleep(0.03)
        raise AssertionError("not over: %s" % s)

    def done(self, r):
        assert r.status == 200, r
        assert "dstURL" in r.json(), r.body
        s = self.wait(r.json()["id"])
        assert s["state"] == "done", s
        return s


def picture(w, h, fmt="PNG", colour=(10, 120, 200), **opt):
    out = io.BytesIO()
    Image.new("RGB", (w, h), colour).save(out, fmt, **opt)
    return out.getvalue()


def size_of(data):
    im = Image.open(io.BytesIO(data))
    im.load()
    return im.size


def is_result(data):
    """The pixel in the middle is the source's, not the placeholder's."""
    im = Image.open(io.BytesIO(data)).convert("RGB")
    r, g, b = im.getpixel((im.width // 2, im.height // 2))
    return abs(r - 10) < 12 and abs(g - 120) < 12 and abs(b - 200) < 12
