#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Puts what is generated into README.md: the directive table (of `iip -D`) and the bench figures.

    readme.py BUILD     (make readme)
"""
import pathlib
import re
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent


def fill(text, mark, body):
    """Replaces what stands between the two comments of a mark."""
    return re.sub(rf"(<!-- {mark} -->\n).*?(<!-- end of {mark} -->)", lambda m: m[1] + body.rstrip("\n") + "\n\n" + m[2],
                  text, flags=re.S)


def main():
    readme = TOP / "README.md"
    table = subprocess.run([TOP / sys.argv[1] / "iip", "-D"], check=True, capture_output=True, text=True).stdout
    head = "\n| Directive | Where | Default | What it does |\n|---|---|---|---|\n"
    text = fill(readme.read_text(), "directives", head + table + "\n")
    for mark in ("figures", "sources", "streams"):
        figures = TOP / f"tests/bench/{mark}.md"
        if figures.exists():
            text = fill(text, mark, figures.read_text())
    readme.write_text(text)


if __name__ == "__main__":
    main()
