# SPDX-License-Identifier: Apache-2.0
"""Stores that servers share: memcached, redis."""
import contextlib
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.parse

import pytest

import httpd

MEMCACHED = shutil.which("memcached") or "/usr/bin/memcached"


def wait_open(port):
    for _ in range(200):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 5).close()
            return
        time.sleep(0.05)
    raise AssertionError("nobody listens")


class Memcached:
    def __init__(self, *args):
        self.port = httpd.free_port()
        self.args = args
        self.proc = None
        self.start()

    def start(self):
        cmd = [MEMCACHED, "-l", "127.0.0.1", "-p", str(self.port), "-U", "0", "-m", "64", *self.args]
        self.proc = subprocess.Popen(cmd + (["-u", "nobody"] if httpd.ROOT else []))
        wait_open(self.port)

    def kill(self):
        if self.proc:
            self.proc.send_signal(signal.SIGCONT)
            self.proc.kill()
            self.proc.wait()
        self.proc = None

    def ask(self, line, end=b"END\r\n"):
        with socket.create_connection(("127.0.0.1", self.port), 10) as s:
            s.sendall(line if isinstance(line, bytes) else line.encode() + b"\r\n")
            got = b""
            while not got.endswith(end):
                piece = s.recv(1 << 20)
                if not piece:
                    break
                got += piece
            return got

    def stat(self, name):
        return int(re.search(r"STAT %s (\d+)" % name, self.ask("stats").decode()).group(1))

    def keys(self):
        # newest items may take a moment to be listed
        dump = self.ask("lru_crawler metadump all").decode()
        return [urllib.parse.unquote(k) for k in re.findall(r"key=(\S+)", dump)]

    def get(self, key):
        head, rest = self.ask("get " + key).split(b"\r\n", 1)
        return rest[:int(head.split()[3])]

    def set(self, key, value):
        assert self.ask(b"set %s 0 0 %d\r\n" % (key.encode(), len(value)) + value + b"\r\n", b"\r\n") == b"STORED\r\n"


def wait_stored(n, *servers):
    """Until they hold that many values together."""
    for _ in range(200):
        if sum(m.stat("curr_items") for m in servers) >= n:
            return
        time.sleep(0.05)
    raise AssertionError("only %s answers stored" % [m.stat("curr_items") for m in servers])


@pytest.fixture
def cached():
    """cached() -> a running memcached of this test."""
    all_of_them = []

    def make(*args):
        all_of_them.append(Memcached(*args))
        return all_of_them[-1]

    yield make
    for m in all_of_them:
        m.kill()


@pytest.fixture
def redis(folder):
    """The port of a redis of this test."""
    port = httpd.free_port()
    p = subprocess.Popen(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""], cwd=folder,
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_open(port)
    yield port
    p.terminate()
    p.wait()
