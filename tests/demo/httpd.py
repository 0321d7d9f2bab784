# SPDX-License-Identifier: Apache-2.0
"""A private httpd on a free port of 127.0.0.1: one folder holds its configuration, pid and log, and goes with it.
Used by the demo, the browser tests and the benchmark."""
import contextlib
import ctypes
import fcntl
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODULE = os.path.join(TOP, 'build', 'mod_iip.so')


def apxs(name):
    return subprocess.run([os.environ.get('APXS', 'apxs'), '-q', name], check=True, capture_output=True, text=True).stdout.strip()


def account():
    """Whom httpd's children run as: None (whoever we are) unless we are root, then the checkout's owner, else www-data."""
    if os.geteuid() != 0:
        return None
    owner = os.stat(TOP).st_uid
    known = [who for who in pwd.getpwall() if who.pw_uid == owner != 0]
    return known[0] if known else pwd.getpwnam('www-data')


def reads(who, path):
    """Can who (None: ourselves) list that folder? Asked of the kernel, as that user, since any folder above may refuse."""
    as_who = {} if who is None else {'user': who.pw_uid, 'group': who.pw_gid, 'extra_groups': []}
    return subprocess.run(['ls', path], cwd='/', stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **as_who).returncode == 0


class Scratch:
    """A folder that is removed at the end, and by the next run if this one was killed: who holds its lock is alive."""

    def __init__(self, parent, prefix):
        os.makedirs(parent, exist_ok=True)
        for name in os.listdir(parent):
            old = os.path.join(parent, name)
            if name.startswith(prefix) and not os.path.islink(old) and os.stat(old).st_uid == os.geteuid():
                self._remove_if_dead(old)
        self.path = tempfile.mkdtemp(prefix=prefix, dir=parent)
        self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        os.chmod(self.path, 0o755)

    @staticmethod
    def _remove_if_dead(path):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # a folder made this very second may not have its lock yet
            if time.time() - os.fstat(fd).st_mtime > 10:
                shutil.rmtree(path, ignore_errors=True)
        except OSError:
            pass
        finally:
            os.close(fd)

    def close(self):
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._fd)

    def __enter__(self):
        return self.path

    def __exit__(self, *_):
        self.close()


def _die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG: a killed starter leaves no server behind


@contextlib.contextmanager
def within_reach(parts, parent, prefix):
    """parts: {name: folder}. Yields a scratch folder below parent and parts as httpd's user can read them: themselves, or
    copies below /var/tmp where a folder on the way (the checkout below /root, an umask of 077) keeps him out."""
    who = account()
    if all(reads(who, path) for path in parts.values()):
        with Scratch(parent, prefix) as run:
            yield run, parts
        return
    with Scratch('/var/tmp', 'mod_iip-' + prefix) as run:
        for name, path in parts.items():
            shutil.copytree(path, os.path.join(run, name), ignore=shutil.ignore_patterns('*.map'))
        for folder, _, files in os.walk(run):
            os.chmod(folder, 0o755)
            for name in files:
                os.chmod(os.path.join(folder, name), 0o644)
        yield run, {name: os.path.join(run, name) for name in parts}


class Httpd:
    """with Httpd(folder, body) as server: server.url, server.pid. body: configuration text after the frame below."""

    def __init__(self, folder, body, modules=(), mpm='event', tuning='', module=MODULE):
        self.folder, self.body, self.mpm, self.tuning = folder, body, mpm, tuning
        self.modules = (f'mpm_{mpm}', 'authz_core', 'mime', 'dir') + tuple(modules)
        self.module = module
        self.process = None
        self.port = 0

    def _configuration(self):
        libexec = apxs('LIBEXECDIR')
        who = account()
        load = [f'<IfModule !{m}_module>\nLoadModule {m}_module {libexec}/mod_{m}.so\n</IfModule>' for m in self.modules]
        if self.module:
            load.append(f'LoadModule iip_module {self.module}')
        if who:
            load.append(f'User {who.pw_name}\nGroup "#{who.pw_gid}"')
        return '\n'.join(load) + f'''
ServerName 127.0.0.1
ServerRoot {self.folder}
Listen 127.0.0.1:{self.port}
PidFile {self.folder}/pid
DefaultRuntimeDir {self.folder}
Mutex file:{self.folder} default
ErrorLog {self.folder}/error.log
LogLevel warn
TypesConfig /etc/mime.types
DirectoryIndex index.html
{self.tuning}
<Directory />
    Options FollowSymLinks
    AllowOverride None
    Require all granted
</Directory>
<FilesMatch "^\\.ht">
    Require all denied
</FilesMatch>
{self.body}
'''

    def start(self):
        program = os.path.join(apxs('SBINDIR'), apxs('PROGNAME'))
        for _ in range(3):  # between finding a free port and listening on it another may take it
            with socket.socket() as probe:
                probe.bind(('127.0.0.1', 0))
                self.port = probe.getsockname()[1]
            conf = os.path.join(self.folder, 'httpd.conf')
            with open(conf, 'w') as f:
                f.write(self._configuration())
            # a session of its own: Ctrl-C reaches the starter alone, which then stops httpd in order
            self.process = subprocess.Popen([program, '-f', conf, '-DFOREGROUND'], cwd='/', stdin=subprocess.DEVNULL,
                                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                            start_new_session=True, preexec_fn=_die_with_parent)
            if self._answers():
                return self
            said = (self.process.communicate()[0] or '') + self.log()
            if 'could not bind' not in said:
                break
        raise RuntimeError(f'httpd did not start:\n{said}')

    def _answers(self):
        """True once port and pid file are there, False if the process ended before."""
        for _ in range(500):
            if self.process.poll() is not None:
                return False
            if os.path.exists(os.path.join(self.folder, 'pid')):
                with socket.socket() as probe:
                    if probe.connect_ex(('127.0.0.1', self.port)) == 0:
                        return True
            time.sleep(0.02)
        self.stop()
        raise RuntimeError('httpd did not answer within ten seconds:\n' + self.log())

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        if self.process:
            self.process.stdout.close()

    def log(self):
        try:
            with open(os.path.join(self.folder, 'error.log'), errors='replace') as f:
                return f.read()
        except OSError:
            return ''

    @property
    def url(self):
        return f'http://127.0.0.1:{self.port}'

    @property
    def pid(self):
        return self.process.pid

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *_):
        self.stop()
        if kind not in (None, KeyboardInterrupt, SystemExit) and (log := self.log()):
            print(f'--- log of {self.folder} ---\n{log}', file=sys.stderr)
