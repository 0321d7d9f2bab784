# SPDX-License-Identifier: Apache-2.0
"""How long small tiles take while others export: clients of a closed loop, each in a process of its own, each tenth request of
them an export of 4000 x 4000 pixels; beside the same clients without. Part of bench.py; alone: python3 tail.py [seconds]."""
import contextlib
import http.client
import multiprocessing
import os
import statistics
import sys
import time

CLIENTS = 8
EVERY = 10
SIDE = 4000


def client(port, tiles, exports, offset, until, out):
    """[milliseconds of tiles], [of exports], bad answers, until that moment; exports None: tiles alone."""
    link = http.client.HTTPConnection('127.0.0.1', port, timeout=120)
    took, long, bad, n = [], [], 0, offset
    while time.monotonic() < until:
        export = exports and n % EVERY == 0
        path = exports[n // EVERY % len(exports)] if export else tiles[n * 7 % len(tiles)]
        n += 1
        t0 = time.perf_counter()
        try:
            link.request('GET', path)
            answer = link.getresponse()
            size = len(answer.read())
            bad += answer.status != 200 or size < 1000
        except (http.client.HTTPException, OSError):
            bad += 1
            link.close()
            continue
        (long if export else took).append((time.perf_counter() - t0) * 1000)
    link.close()
    out.send((took, long, bad))


def run(port, tiles, exports, seconds):
    """One round: sorted milliseconds of all tiles, of exports, bad answers."""
    until, parts = time.monotonic() + seconds, []
    for i in range(CLIENTS):
        here, there = multiprocessing.Pipe(False)
        p = multiprocessing.Process(target=client, args=(port, tiles, exports, i * 13 + 1, until, there))
        p.start()
        parts.append((p, here))
    took, long, bad = [], [], 0
    for p, here in parts:
        a, b, c = here.recv()
        p.join()
        took, long, bad = took + a, long + b, bad + c
    return sorted(took), sorted(long), bad


def at(values, share):
    return values[min(len(values) - 1, int(len(values) * share))] if values else float('nan')


def table(sides, tiles, seconds, rounds):
    """The rows, and bad answers. sides: {name: server}."""
    exports = [f'/iiif/jpeg.tif/{8 * (n % 400)},{2 * (n % 300)},{SIDE},{SIDE}/{SIDE},{SIDE}/0/default.jpg' for n in range(0, 2000, 37)]
    alone, among, bad = {s: [] for s in sides}, {s: [] for s in sides}, 0
    for _ in range(rounds):
        for side, server in sides.items():
            for rows, what in ((alone[side], None), (among[side], exports)):
                took, long, wrong = run(server.port, tiles, what, seconds)
                bad += wrong
                rows.append((at(took, 0.5), at(took, 0.99), len(long) / seconds, at(long, 0.5)))
    lines = ['| small tiles | p50 ms | p99 ms | with exports: p50 ms | p99 ms | x p50 | x p99 | exports/s | one takes ms |',
             '|---|---:|---:|---:|---:|---:|---:|---:|---:|']
    for side in sides:
        a, b = ([statistics.median(r[i] for r in rows[side]) for i in range(4)] for rows in (alone, among))
        ratio = [statistics.median(y[i] / x[i] for x, y in zip(alone[side], among[side])) for i in range(2)]
        lines.append(f'| {side} | {a[0]:.2f} | {a[1]:.2f} | {b[0]:.2f} | {b[1]:.2f} | {ratio[0]:.1f} | {ratio[1]:.1f} | {b[2]:.1f} | {b[3]:.0f} |')
    return '\n'.join(lines), bad


def main():
    import bench

    bench.corpus()
    with contextlib.ExitStack() as stack:
        run_dir, parts = stack.enter_context(bench.within_reach({'pictures': os.path.join(bench.WORK, 'pictures')}, '/tmp', 'mod_iip-bench-'))
        sides = bench.tail_sides(stack, run_dir, parts['pictures'])
        print(*table(sides, bench.tail_tiles(), float(sys.argv[1]) if len(sys.argv) > 1 else 4, 2), 'bad', sep='\n')


if __name__ == '__main__':
    main()
