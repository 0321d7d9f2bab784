# SPDX-License-Identifier: Apache-2.0
"""A private, real httpd for the tests, and a client that sends request targets exactly as written."""
import contextlib
import http.client
import io
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
ROOT = os.geteuid() == 0
APACHE = shutil.which("apache2") or shutil.which("apache2", path="/usr/sbin:/sbin") or shutil.which("httpd")

# What httpd itself logs at warn and above in the course of a normal test
HARMLESS = [
    r"AH00554",  # a client of a test hung up
    r"AH00558",  # no fully qualified name of this machine
    r"AH00161|AH00484|AH00286|AH00326|AH10159|AH03490",  # all workers busy, as small as they are here
]
DEADLY = re.compile(
    r"AH00052|AH00051|exit signal|Sanitizer|runtime error:|glibc detected|double free|corrupted|Assertion|AH00106|\[emerg"
)
LOUD = re.compile(r"^\[[^]]*\] \[[^]:]*:(warn|error|crit|alert|emerg)\]")

_modules = None


def modules_dir():
    global _modules
    if _modules is None:
        apxs = shutil.which("apxs") or shutil.which("apxs2") or "/usr/bin/apxs"
        _modules = subprocess.run([apxs, "-q", "LIBEXECDIR"], capture_output=True, text=True, check=True).stdout.strip()
    return _modules


def reachable(path):
    """May the user that httpd's children run as read below this folder?"""
    if not ROOT:
        return True
    path = os.path.abspath(path)
    while True:
        if not os.stat(path).st_mode & 1:
            return False
        if path == "/":
            return True
        path = os.path.dirname(path)


class Response:
    def __init__(self, status, reason, headers, body, broken, raw_chunked):
        self.status, self.reason, self.headers, self.body = status, reason, headers, body
        self.broken = broken  # the transfer ended before its announced end
        self.chunked = raw_chunked

    def __getitem__(self, name):
        """All values of a header as one, None if absent."""
        v = self.headers.get_all(name)
        return None if v is None else ", ".join(v)

    @property
    def error(self):
        return self["IIP-Error"]

    def json(self):
        return json.loads(self.body.decode("utf-8", "strict"), object_pairs_hook=_no_doubles)

    def image(self):
        from PIL import Image

        Image.MAX_IMAGE_PIXELS = None
        im = Image.open(io.BytesIO(self.body))
        im.load()
        return im

    @property
    def size(self):
        return self.image().size

    def pixels(self, mode=None):
        import numpy as np

        im = self.image()
        return np.asarray(im.convert(mode) if mode else im)

    def __repr__(self):
        return "<%s %s %s %r>" % (self.status, self["Content-Type"], self.error, self.body[:80])


def _no_doubles(pairs):
    keys = [k for k, _ in pairs]
    assert len(keys) == len(set(keys)), "a key stands twice: %s" % keys
    return dict(pairs)


class Connection:
    """One client connection; requests go out byte by byte as given."""

    def __init__(self, port, timeout=60, host="127.0.0.1"):
        self.port = port
        self.sock = socket.create_connection((host, port), timeout=timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, method, target, headers=None, body=None, keep=False):
        head = {"Host": "127.0.0.1:%d" % self.port}
        if not keep:
            head["Connection"] = "close"
        if body is not None:
            head["Content-Length"] = str(len(body))
        head.update(headers or {})
        text = "%s %s HTTP/1.1\r\n" % (method, target)
        text += "".join("%s: %s\r\n" % kv for kv in head.items() if kv[1] is not None) + "\r\n"
        self.sock.sendall(text.encode("latin-1") + (body or b""))

    def receive(self, method="GET"):
        r = http.client.HTTPResponse(self.sock, method=method)
        r.begin()
        broken = False
        try:
            body = r.read()
        except (http.client.IncompleteRead, ConnectionError) as e:
            body, broken = getattr(e, "partial", b""), True
        return Response(r.status, r.reason, r.headers, body, broken, r.chunked)

    def request(self, method, target, headers=None, body=None, keep=True):
        self.send(method, target, headers, body, keep)
        return self.receive(method)

    def reset(self):
        """Hang up with RST, as a browser that leaves."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self):
        self.sock.close()


# Loaded for every server; mod_cgi or mod_cgid follows the MPM
MODULES = """authn_core authn_file authz_core authz_host authz_user auth_basic mime dir alias env headers setenvif rewrite
autoindex socache_shmcb""".split()

_number = [0]
_lock = threading.Lock()


class Server:
    def __init__(self, work, mpm, conf, children=1, threads=16, modules=(), module_so=None, loglevel="warn iip:info",
                 env=None, single=False, head=""):
        with _lock:
            _number[0] += 1
            n = _number[0]
        self.mpm, self.conf = mpm, conf
        self.dir = os.path.join(work, "server", "%d-%d" % (os.getpid(), n))
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(os.path.join(self.dir, "htdocs"))
        os.makedirs(os.path.join(self.dir, "run"))
        if ROOT:
            shutil.chown(os.path.join(self.dir, "run"), "www-data", "www-data")
        self.log = os.path.join(self.dir, "error.log")
        self.out = os.path.join(self.dir, "stdio.log")
        open(self.log, "w").close()
        self.children, self.threads, self.modules = children, threads, modules
        self.module_so, self.head = module_so, head
        self.loglevel = loglevel if module_so else "warn"
        self.env = dict(os.environ, LANG="C", **(env or {}))
        self.single = single
        self.proc, self.port = None, None
        self.settle = 0.05  # seconds of quiet before TERM
        self.seen = {self.log: 0, self.out: 0}

    # ---- configuration

    def text(self, port):
        lib = modules_dir()
        load = ["mpm_" + self.mpm] + MODULES + (["cgi"] if self.mpm == "prefork" else ["cgid"]) + list(self.modules)
        t = 'ServerRoot "%s"\n' % self.dir
        for m in dict.fromkeys(load):
            t += "LoadModule %s_module %s/mod_%s.so\n" % (m, lib, m)
        if self.module_so:
            t += "LoadModule iip_module %s\n" % self.module_so
        if self.mpm == "prefork":
            n = self.children
            t += "StartServers %d\nMinSpareServers %d\nMaxSpareServers %d\nServerLimit %d\nMaxRequestWorkers %d\n" % (
                n, n, n + 1, n, n)
        else:
            t += "StartServers %d\nServerLimit %d\nThreadsPerChild %d\nThreadLimit %d\nMaxRequestWorkers %d\n" % (
                self.children, self.children + 1, self.threads, self.threads, self.children * self.threads)
            t += "MinSpareThreads 1\nMaxSpareThreads %d\n" % (self.children * self.threads)
            sock = self.dir + "/run/cgisock"
            t += 'ScriptSock "%s"\n' % (sock if len(sock) < 90 else "/tmp/iip-cgisock-%d-%d" % (os.getpid(), _number[0]))
        if ROOT:
            t += "User www-data\nGroup www-data\n"
        t += """PidFile "%(d)s/httpd.pid"
DefaultRuntimeDir "%(d)s/run"
Mutex file:%(d)s/run default
ErrorLog "%(d)s/error.log"
LogLevel %(level)s
Listen 127.0.0.1:%(port)d
ServerName localhost
TypesConfig /etc/mime.types
DocumentRoot "%(d)s/htdocs"
Timeout 20
KeepAliveTimeout 5
MaxKeepAliveRequests 0
GracefulShutdownTimeout 10
MaxConnectionsPerChild 0
%(head)s
<Directory />
    AllowOverride None
    Require all denied
</Directory>
<Directory "%(d)s/htdocs">
    Require all granted
</Directory>
<FilesMatch "^\\.ht">
    Require all denied
</FilesMatch>
""" % dict(d=self.dir, level=self.loglevel, port=port, head=self.head)
        return t + self.conf.replace("{dir}", self.dir).replace("{port}", str(port)) + "\n"

    def write(self, port):
        path = os.path.join(self.dir, "httpd.conf")
        with open(path, "w") as f:
            f.write(self.text(port))
        return path

    def configtest(self):
        """Exit status and everything that `httpd -t` says."""
        p = subprocess.run([APACHE, "-t", "-f", self.write(free_port())], capture_output=True, text=True, env=self.env)
        with open(self.log) as f:
            return p.returncode, p.stdout + p.stderr + f.read()

    # ---- life

    def start(self):
        for _ in range(3):
            self.port = free_port()
            args = [APACHE, "-f", self.write(self.port), "-D", "FOREGROUND"]
            if self.single:
                args.append("-X")
            out = open(self.out, "ab")
            self.proc = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=self.env,
                                         start_new_session=True)
            out.close()
            if self._wait_up():
                return self
            self._reap()
            if "Address already in use" not in self.logtext():
                break
        raise AssertionError("httpd did not start:\n" + self.logtext())

    def _wait_up(self):
        until = time.time() + 30
        pidfile = os.path.join(self.dir, "httpd.pid")
        while time.time() < until:
            if self.proc.poll() is not None:
                return False
            if os.path.exists(pidfile):
                with contextlib.suppress(OSError):
                    socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
                    return True
            time.sleep(0.01)
        return False

    def _reap(self, how=signal.SIGTERM):
        if self.proc and self.proc.poll() is None:
            self.proc.send_signal(how)
            try:
                self.proc.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(self.proc.pid, signal.SIGKILL)
                self.proc.wait()
                return False
            with contextlib.suppress(OSError):  # a mod_cgid daemon that httpd started again while it ended
                os.killpg(self.proc.pid, signal.SIGKILL)
        return True

    def stop(self):
        """TERM, and what the log then still had to complain about."""
        # httpd's own race: at TERM event and worker close their workers' sockets, and one that a worker is just giving
        # back is a segmentation fault in apr_os_sock_get (6 of 800 stops of 2.4.71 without any module of ours)
        time.sleep(self.settle)
        clean = self._reap()
        bad = self.complaints()
        if not clean:
            bad.append("httpd did not end within 30 s of SIGTERM")
        self.proc = None
        return bad

    def graceful(self):
        self.proc.send_signal(signal.SIGUSR1)

    def child_pids(self):
        """Processes that answer requests (not mod_cgid's daemon)."""
        if self.single:
            return [self.proc.pid]
        with open("/proc/%d/task/%d/children" % (self.proc.pid, self.proc.pid)) as f:
            pids = [int(p) for p in f.read().split()]
        if self.mpm == "prefork" or len(pids) < 2:
            return pids
        threads = {p: len(os.listdir("/proc/%d/task" % p)) for p in pids if os.path.exists("/proc/%d/task" % p)}
        return [p for p in pids if threads.get(p, 0) > 1]

    def rss(self):
        """Resident KiB of all children together."""
        total = 0
        for p in self.child_pids():
            with open("/proc/%d/status" % p) as f:
                total += int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))
        return total

    # ---- log

    def logtext(self):
        t = ""
        for path in (self.out, self.log):
            with contextlib.suppress(OSError), open(path, errors="replace") as f:
                t += f.read()
        return t

    def newlog(self):
        """Lines since the last call of complaints()."""
        lines = []
        for path in (self.out, self.log):
            with contextlib.suppress(OSError), open(path, errors="replace") as f:
                f.seek(self.seen[path])
                lines += f.read().splitlines()
        return lines

    def complaints(self, expected=()):
        lines = self.newlog()
        for path in (self.out, self.log):
            with contextlib.suppress(OSError):
                self.seen[path] = os.path.getsize(path)
        bad = []
        for line in lines:
            deadly = DEADLY.search(line)
            if (deadly or LOUD.search(line)) and not any(re.search(p, line) for p in list(expected) + ([] if deadly else HARMLESS)):
                bad.append(line)
        return bad

    # ---- requests

    def connect(self, timeout=60):
        return Connection(self.port, timeout)

    def request(self, method, target, headers=None, body=None, timeout=60):
        c = self.connect(timeout)
        try:
            c.send(method, target, headers, body)
            return c.receive(method)
        finally:
            c.close()

    def get(self, target, headers=None, **kw):
        return self.request("GET", target, headers, **kw)

    def head_of(self, target, headers=None, **kw):
        return self.request("HEAD", target, headers, **kw)

    @property
    def base(self):
        return "http://127.0.0.1:%d" % self.port


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def parallel(n, fn, items):
    """fn over items from n threads; results in order, the first exception is raised."""
    items, out, errors = list(items), {}, []
    it, lock = iter(range(len(items))), threading.Lock()

    def work():
        while not errors:
            with lock:
                i = next(it, None)
            if i is None:
                return
            try:
                out[i] = fn(items[i])
            except BaseException as e:
                errors.append(e)

    ts = [threading.Thread(target=work) for _ in range(n)]
    [t.start() for t in ts]
    [t.join() for t in ts]
    if errors:
        raise errors[0]
    return [out[i] for i in range(len(items))]
