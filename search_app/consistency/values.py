"""What can be seen in stored vectors themselves. Pure functions over arrays."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from search_app.types import Matrix

LENGTH_TOLERANCE = 1e-3
"""How far from 1 the length of a stored vector may be."""

TAIL = "zero tail"
"""What a model is said to have whose own vectors end in zeros."""

GRIDS = ("fp16", "bf16", "int8", "binary")
"""Number formats that leave their grid on values, the coarser later."""

_STEP_TOLERANCE = 1e-3
"""How far from a whole number of steps a value may lie, in steps: float32 rounds."""

Mask = NDArray[np.bool_]


def not_finite(vectors: Matrix) -> Mask:
    """Say which rows (n, d) hold NaN or infinity."""
    return np.asarray(~np.isfinite(vectors).all(axis=1), np.bool_)


def zero(vectors: Matrix) -> Mask:
    """Say which rows are zero."""
    return np.asarray(~vectors.any(axis=1), np.bool_)


def off_length(vectors: Matrix) -> Mask:
    """Say which rows are neither of length 1 nor zero nor broken."""
    exact = np.where(np.isfinite(vectors), vectors, 0).astype(np.float64)
    lengths = np.sqrt(np.einsum("ij,ij->i", exact, exact))
    found: Mask = (np.abs(lengths - 1) > LENGTH_TOLERANCE) & ~zero(vectors) & ~not_finite(vectors)
    return found


def zero_tail(vectors: Matrix) -> Mask:
    """Say which rows end in zeros, a twentieth of the dimensions or more, zero rows aside."""
    size = max(1, vectors.shape[1] // 20)
    ends: Mask = np.asarray(~vectors[:, -size:].any(axis=1), np.bool_)
    return ends & ~zero(vectors)


def grids(vectors: Matrix) -> dict[str, Mask]:
    """Say of each number format which rows (n, d) lie on its grid, zero rows aside.

    A row on the grid of a coarser format counts for that one only. Values scaled as a whole
    afterwards, as int8 and binary ones are, are found by their steps.
    """
    usable = ~zero(vectors) & ~not_finite(vectors)
    safe = np.where(usable[:, None], vectors, np.float32(1))
    found = {
        "fp16": (safe.astype(np.float16).astype(np.float32) == safe).all(axis=1),
        "bf16": _on_bf16(safe),
        "int8": _on_steps(safe),
        "binary": _on_signs(safe),
    }
    taken = ~usable
    for name in reversed(GRIDS):
        found[name] = found[name] & ~taken
        taken |= found[name]
    return found


def _on_bf16(vectors: Matrix) -> Mask:
    bits = np.ascontiguousarray(vectors, np.float32).view(np.uint32)
    found: Mask = ((bits & np.uint32(0xFFFF)) == 0).all(axis=1)
    return found


def _on_steps(vectors: Matrix) -> Mask:
    """Find rows whose values are whole multiples of their largest one, divided by 127 or 128."""
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    found = np.zeros(len(vectors), np.bool_)
    for steps in (127, 128):
        scaled = vectors.astype(np.float64) / largest * steps
        found |= (np.abs(scaled - np.round(scaled)) < _STEP_TOLERANCE).all(axis=1)
    return found


def _on_signs(vectors: Matrix) -> Mask:
    """Find rows in which all values that are not zero are equally large."""
    sizes = np.abs(vectors)
    largest = sizes.max(axis=1, keepdims=True)
    found: Mask = ((sizes == 0) | (np.abs(sizes - largest) <= 1e-6 * largest)).all(axis=1)
    return found


def leading(stored: Matrix, fresh: Matrix) -> tuple[NDArray[np.float64], int] | None:
    """Compare heads where stored vectors end in zeros that fresh ones do not have.

    Returns:
        1 - cos over the dimensions that are used, of the rows that end in zeros, and how many
        those dimensions are; None where no row does.
    """
    used = [int(np.flatnonzero(row)[-1]) + 1 if row.any() else 0 for row in stored]
    short = [place for place, size in enumerate(used) if 0 < size <= 0.95 * stored.shape[1]]
    if not short:
        return None
    size = max(used[place] for place in short)
    left = stored[short, :size].astype(np.float64)
    right = fresh[short, :size].astype(np.float64)
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    cosines = np.einsum("ij,ij->i", left, right) / np.where(norms > 0, norms, 1)
    return 1 - cosines, size


def shared_format(canaries: Matrix) -> Sequence[str]:
    """Name the formats on whose grid a model's own vectors lie: there they are no fault."""
    found = [name for name, rows in grids(canaries).items() if len(rows) and rows.all()]
    return [*found, TAIL] if len(canaries) and zero_tail(canaries).all() else found
