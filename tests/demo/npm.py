# SPDX-License-Identifier: Apache-2.0
"""Packages from npm, as a package.json and its lock file name them, installed below build/ and kept while the lock file is the same."""
import os
import shutil
import subprocess
import sys


def install(source, target):
    """Installs source/package-lock.json to target/node_modules unless it is there already; returns that path."""
    lock = os.path.join(source, 'package-lock.json')
    modules = os.path.join(target, 'node_modules')
    with open(lock, 'rb') as f:
        wanted = f.read()
    try:
        with open(os.path.join(target, 'package-lock.json'), 'rb') as f:
            if f.read() == wanted and os.path.isdir(modules):
                return modules
    except OSError:
        pass
    if not shutil.which('npm'):
        sys.exit('npm is missing: install the packages nodejs and npm')
    part = f'{target}.part-{os.getpid()}'
    shutil.rmtree(part, ignore_errors=True)
    os.makedirs(part)
    try:
        for name in ('package.json', 'package-lock.json'):
            shutil.copy(os.path.join(source, name), part)
        done = subprocess.run(['npm', 'ci', '--ignore-scripts', '--no-audit', '--no-fund', '--no-progress', '--loglevel=error',
                               '--legacy-peer-deps'], cwd=part, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f'npm ci failed for {source}:\n{done.stdout}{done.stderr}')
        with open(os.path.join(part, 'package-lock.json'), 'wb') as f:  # as wanted, should npm have rewritten it
            f.write(wanted)
        shutil.rmtree(target, ignore_errors=True)
        os.rename(part, target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return modules
