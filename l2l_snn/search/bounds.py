"""Bounds of a search space seen from a distribution without bounds: z is a smooth function of where a sample lies.

After pycma's BoundTransform (Hansen et al.).

Legend: D search coordinates, K rows.
"""

import numpy as np

EDGE = 0.05  # of a bounded coordinate: where it begins to bend


def smooth(x: np.ndarray, bounded: np.ndarray) -> np.ndarray:
    """Return z of the coordinates x that the distribution lives in, (..., D); `bounded` (D,) says which z end at 0, 1.

    Free coordinates stay. Bounded ones are themselves from EDGE to 1 - EDGE, then parabolas that touch 0 at -EDGE and
    1 at 1 + EDGE, and mirrored there: smooth and even at its ends, so that an optimum on a bound is an ordinary one.
    """
    if not bounded.any():
        return x
    everywhere = bool(bounded.all())  # then nothing needs to be picked out and put back
    half = 1.0 + 2.0 * EDGE  # from one end to the other
    inside = (x if everywhere else x[..., bounded]) + EDGE  # 0 is the lower end
    inside -= 2.0 * half * np.floor(inside / (2.0 * half))
    inside = half - np.abs(inside - half)
    near = np.minimum(inside, half - inside)  # distance from the nearer end
    bend = np.where(near < 2.0 * EDGE, near**2 / (4.0 * EDGE), near - EDGE)
    bend = np.clip(np.where(inside < 0.5 * half, bend, 1.0 - bend), 0.0, 1.0)
    if everywhere:
        return bend
    z = x.copy()
    z[..., bounded] = bend
    return z


def unsmooth(z: np.ndarray, bounded: np.ndarray) -> np.ndarray:
    """Return the x in [-EDGE, 1 + EDGE] of z, (..., D): the inverse of `smooth` there."""
    near = np.clip(np.minimum(z, 1.0 - z), 0.0, 0.5)
    bend = np.where(near < EDGE, 2.0 * np.sqrt(EDGE * near) - EDGE, near)
    return np.where(bounded, np.where(z < 0.5, bend, 1.0 - bend), z)


def asked(x: np.ndarray, z: np.ndarray, bounded: np.ndarray) -> np.ndarray:
    """Return the x (K, D) of z (K, D): the x that was asked, or that of the given z where somebody changed it."""
    if not bounded.any():
        return z
    same = z == smooth(x, bounded)
    return x if same.all() else np.where(same, x, unsmooth(z, bounded))
