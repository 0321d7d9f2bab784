# SPDX-License-Identifier: Apache-2.0
"""Servers that jobs fetch from and deliver to: HTTP with everything a peer may do wrong, FTP by pyftpdlib and vsftpd."""
import contextlib
import http.server
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

from httpd import free_port


class Peer(http.server.ThreadingHTTPServer):
    """GET /name serves `files`; POST and PUT are kept in `got`; `answers[path]` is a list of (status, headers) used up
    one a request."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.got, self.answers, self.seen = {}, [], {}, []
        self.slow = {}
        self.on_get = None  # called before a file is served
        self.inside = set()  # threads at it
        threading.Thread(target=self.serve_forever, daemon=True).start()
        self.url = "http://127.0.0.1:%d" % self.server_port

    def close(self):
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *a):
        pass

    def special(self):
        self.server.seen.append((self.command, self.path))
        queue = self.server.answers.get(self.path)
        if not queue:
            return False
        status, headers = queue.pop(0)
        self.send_response(status)
        for k, v in headers.items():
            self.send_header(k, v)
        self.send_header("Content-Length", "0")
        self.end_headers()
        return True

    def do_GET(self):
        if self.special():
            return
        data = self.server.files.get(self.path.split("?")[0].lstrip("/"))
        if data is None:
            self.send_error(404)
            return
        if self.server.on_get:
            self.server.inside.add(threading.get_ident())
            self.server.on_get()
        self.send_response(200)
        lie = self.server.slow.get(self.path)
        length = {"too many announced": len(data) + 100, "too few announced": 10, "a terabyte announced": 1 << 40}.get(lie, len(data))
        if lie:
            self.close_connection = True
        if lie != "no length":
            self.send_header("Content-Length", str(length))
        else:
            self.close_connection = True
            self.send_header("Connection", "close")
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(data)

    def take(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.special():
            return
        self.server.got.append((self.command, self.path, dict(self.headers), body))
        self.send_response(200 if self.command == "POST" else 201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_PUT = take


def parts(headers, body):
    """A multipart form as {field: (file name, type, bytes)}."""
    kind = {k.lower(): v for k, v in headers.items()}["content-type"]
    edge = re.search(r"boundary=(\S+)", kind).group(1).encode()
    out = {}
    for piece in body.split(b"--" + edge)[1:-1]:
        head, data = piece.strip(b"\r\n").split(b"\r\n\r\n", 1) if b"\r\n\r\n" in piece else (piece, b"")
        head = head.decode()
        name = re.search(r'\bname="([^"]*)"', head).group(1)
        file = re.search(r'filename="([^"]*)"', head)
        mime = re.search(r"Content-Type: (\S+)", head, re.I)
        out[name] = (file and file.group(1), mime and mime.group(1), data)
    return out


def wait_port(port, seconds=10):
    until = time.time() + seconds
    while time.time() < until:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        time.sleep(0.02)
    raise AssertionError("nothing listens on %d" % port)


@contextlib.contextmanager
def ftp(folder):
    """A server with user u, password P."""
    port = free_port()
    p = subprocess.Popen(["/usr/bin/python3", "-m", "pyftpdlib", "-i", "127.0.0.1", "-p", str(port), "-w", "-d", folder,
                          "-u", "u", "-P", "pw"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_port(port)
        yield port
    finally:
        p.kill()
        p.wait()


@contextlib.contextmanager
def vsftpd(folder, tls=None, implicit=False):
    """Anonymous; tls: (certificate, key). `folder` is not writable, folder/in is."""
    port = free_port()
    os.makedirs(os.path.join(folder, "in"), exist_ok=True)
    os.chmod(os.path.join(folder, "in"), 0o777)
    os.chmod(folder, 0o555)
    empty = os.path.join(os.path.dirname(folder), "empty")
    os.makedirs(empty, exist_ok=True)
    conf = dict(listen="YES", listen_address="127.0.0.1", listen_port=port, background="NO", anonymous_enable="YES",
                write_enable="YES", anon_upload_enable="YES", anon_other_write_enable="YES", anon_root=folder,
                no_anon_password="YES", seccomp_sandbox="NO", secure_chroot_dir=empty, anon_umask="022")
    if tls:
        conf.update(ssl_enable="YES", allow_anon_ssl="YES", force_anon_data_ssl="YES", force_anon_logins_ssl="YES",
                    require_ssl_reuse="NO", rsa_cert_file=tls[0], rsa_private_key_file=tls[1])
    if implicit:
        conf["implicit_ssl"] = "YES"
    path = os.path.join(os.path.dirname(folder), "vsftpd-%d.conf" % port)
    with open(path, "w") as f:
        f.writelines("%s=%s\n" % kv for kv in conf.items())
    p = subprocess.Popen([shutil.which("vsftpd") or "/usr/sbin/vsftpd", path], stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL)
    try:
        wait_port(port)
        yield port
    finally:
        p.send_signal(signal.SIGKILL)
        p.wait()


class Rogue(threading.Thread):
    """An FTP server that has one picture, and sends clients to another address for the data."""

    def __init__(self, data_host, data_port):
        super().__init__(daemon=True)
        self.data = (data_host, data_port)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.said = []
        self.start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                link, _ = self.listener.accept()
                threading.Thread(target=self.talk, args=(link,), daemon=True).start()

    def talk(self, link):
        replies = {"USER": "230 in", "PWD": '257 "/"', "CWD": "250 ok", "TYPE": "200 ok", "SIZE": "213 100", "EPSV": "500 no",
                   "PASV": "227 Entering Passive Mode (%s,%d,%d)" % (self.data[0].replace(".", ","), *divmod(self.data[1], 256))}
        with contextlib.suppress(OSError), link, link.makefile("rw", newline="\r\n") as f:
            f.write("220 hello\n")
            f.flush()
            for line in f:
                word = line.split()[0].upper()
                self.said.append(word)
                f.write(replies.get(word, "502 no") + "\n")
                f.flush()

    def close(self):
        self.listener.close()


@contextlib.contextmanager
def trap(host="127.0.0.2", port=0):
    """A listener that must see no connection: (address, port)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family, dualstack_ipv6=host == "::") as s:
        yield s.getsockname()[1]
        s.settimeout(0.2)
        with contextlib.suppress(socket.timeout):
            raise AssertionError("a connection from %s" % (s.accept()[1],))
