# SPDX-License-Identifier: Apache-2.0
"""Configurations and models that several test files share."""
import re

import numpy as np
from PIL import Image

CTX3 = "http://iiif.io/api/image/3/context.json"
CTX2 = "http://iiif.io/api/image/2/context.json"
CTX1 = "http://library.stanford.edu/iiif/image-api/1.1/context.json"
LD = "application/ld+json"


def location(path="/i", root="{data}", *lines):
    """A Location that serves the pictures below root."""
    return "<Location %s>\nSetHandler iiif-handler\nIIPRoot %s\n%s\n</Location>\n" % (
        '"%s"' % path, '"%s"' % root, "\n".join(lines))


PLAIN = location()


def read(path):
    """The whole picture of a file as RGB, by PIL."""
    Image.MAX_IMAGE_PIXELS = None
    return np.asarray(Image.open(path).convert("RGB"))


def crop(px, x, y, w, h):
    return px[y:y + h, x:x + w]


def shrink(px, w, h):
    """Area average to exactly w x h: each answer pixel is the mean of the source area it covers, in float."""
    def axis(f, m):  # sums between fractional places, by differences of the running sum
        n = f.shape[0]
        run = np.concatenate([np.zeros((1,) + f.shape[1:]), np.cumsum(f, 0)])
        at = np.arange(m + 1) * (n / m)
        i = np.minimum(at.astype(int), n - 1)
        rest = (at - i).reshape((-1,) + (1,) * (f.ndim - 1))
        place = run[i] + rest * f[i]
        return np.diff(place, axis=0) * (m / n)

    return axis(axis(px.astype(np.float64), h).swapaxes(0, 1), w).swapaxes(0, 1)


def lanczos(px, w, h):
    return np.asarray(Image.fromarray(px).resize((w, h), Image.LANCZOS))


def difference(a, b):
    """(mean, greatest) absolute difference."""
    assert a.shape == b.shape, "%s is not %s" % (a.shape, b.shape)
    d = np.abs(a.astype(np.float64) - b.astype(np.float64))
    return d.mean(), d.max()


def near(a, b, mean, most):
    m, x = difference(a, b)
    assert m <= mean and x <= most, "differ by %.2f on average (allowed %.2f), %.0f at most (allowed %.0f)" % (m, mean, x, most)


def gray_of(px):
    return np.floor(px[..., 0] * 0.299 + px[..., 1] * 0.587 + px[..., 2] * 0.114 + 0.5)


def links(response):
    """Link headers as {rel: URI}."""
    out = {}
    for uri, rest in re.findall(r"<([^>]*)>([^,]*)", response["Link"] or ""):
        rel = re.search(r'rel="?([^";]*)"?', rest)
        out[rel.group(1)] = uri
    return out


def refused(r, status, name=None):
    """A well-formed error answer of ours (spec/security.md 5)."""
    want = status if isinstance(status, tuple) else (status,)
    assert r.status in want, r
    assert r.error is not None, "an error of ours carries IIP-Error: %r" % r
    if name:
        assert r.error in (name if isinstance(name, tuple) else (name,)), r
    assert r["X-Content-Type-Options"] == "nosniff", r.headers.items()
    kind = "max-age=60" if r.status == 404 or r.error == "corrupt" else "no-store"
    assert r["Cache-Control"] == kind, (r, r["Cache-Control"])
    assert r["Access-Control-Allow-Origin"] == "*", r
    assert 0 < len(r.body) < 400, r
    if r.status in (503, 429):
        assert int(r["Retry-After"]) > 0
    return r


def steady(headers):
    """Headers as a list to compare, without what differs from one moment to the next."""
    return sorted((k.lower(), v) for k, v in headers.items() if k.lower() not in ("date", "vary", "keep-alive", "connection"))
