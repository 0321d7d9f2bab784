# SPDX-License-Identifier: Apache-2.0
"""Colours as tests know them: sRGB's curve, CIELAB, and the CIEDE2000 difference, from their formulas."""
import numpy as np

from make_colour import to_xyz


def light(v, gamma):
    return v ** gamma if gamma else np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def encoded(u):
    u = np.clip(u, 0, 1)
    return np.where(u <= 0.0031308, 12.92 * u, 1.055 * u ** (1 / 2.4) - 0.055)


def to_lab(rgb):
    m = to_xyz("srgb")
    t = light(rgb, None) @ m.T / m.sum(1)
    f = np.where(t > 216 / 24389, np.cbrt(t), (24389 / 27 * t + 16) / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def delta_e(a, b):
    """CIEDE2000 of two sRGB pictures, values 0..1 (Sharma, Wu, Dalal 2005)."""
    l1, a1, b1 = np.moveaxis(to_lab(a), -1, 0)
    l2, a2, b2 = np.moveaxis(to_lab(b), -1, 0)
    c7 = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7
    g = 1 + 0.5 * (1 - np.sqrt(c7 / (c7 + 25.0 ** 7)))
    c1, c2 = np.hypot(g * a1, b1), np.hypot(g * a2, b2)
    h1, h2 = np.arctan2(b1, g * a1) % (2 * np.pi), np.arctan2(b2, g * a2) % (2 * np.pi)
    dh = (h2 - h1 + np.pi) % (2 * np.pi) - np.pi
    dh = np.where(c1 * c2 == 0, 0, dh)
    h = np.where(c1 * c2 == 0, h1 + h2, h1 + dh / 2)
    lm, cm = (l1 + l2) / 2, (c1 + c2) / 2
    t = 1 - 0.17 * np.cos(h - np.pi / 6) + 0.24 * np.cos(2 * h) + 0.32 * np.cos(3 * h + np.pi / 30) - 0.2 * np.cos(4 * h - 63 * np.pi / 180)
    sl = 1 + 0.015 * (lm - 50) ** 2 / np.sqrt(20 + (lm - 50) ** 2)
    sc, sh = 1 + 0.045 * cm, 1 + 0.015 * cm * t
    turn = 60 * np.pi / 180 * np.exp(-((np.degrees(h) % 360 - 275) / 25) ** 2)
    rt = -2 * np.sqrt(cm ** 7 / (cm ** 7 + 25.0 ** 7)) * np.sin(turn)
    x, y, z = (l2 - l1) / sl, (c2 - c1) / sc, 2 * np.sqrt(c1 * c2) * np.sin(dh / 2) / sh
    return np.sqrt(np.maximum(x * x + y * y + z * z + rt * y * z, 0))
