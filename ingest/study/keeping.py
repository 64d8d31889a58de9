"""What a study has worked out so far, as .npy files, so that an interrupted one goes on."""

import json
import shutil
from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from pathlib import Path

import numpy as np

from search_app.types import JSON, Matrix

Embed = Callable[[int, int], Awaitable[Matrix]]
"""Gives the vectors of the texts from a place up to another."""


def key_of(facts: Mapping[str, JSON]) -> str:
    """Name what was asked for: other facts, other name."""
    return sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def load(path: Path) -> Matrix | None:
    """Read an array that was kept, or None; one that cannot be read is as good as none."""
    try:
        found: Matrix = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found


def save(path: Path, array: np.ndarray) -> None:
    """Write an array whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".tmp.npy")
    np.save(unfinished, array, allow_pickle=False)
    unfinished.replace(path)


async def in_blocks(
    path: Path, total: int, size: int, embed: Embed, after: Callable[[int], None]
) -> Matrix:
    """Embed ``total`` texts by blocks of ``size``; blocks that an earlier run kept are not sent.

    ``after`` is told how many more are there, once for each block. At the end there is one file.
    """
    known = load(path)
    if known is not None and len(known) == total:
        after(total)
        return known
    folder = path.with_suffix("")
    blocks = []
    for start in range(0, total, size):
        end = min(start + size, total)
        kept = folder / f"{start:08d}.npy"
        block = load(kept)
        if block is None or len(block) != end - start:
            block = await embed(start, end)
            save(kept, block)
        blocks.append(block)
        after(end - start)
    whole = np.concatenate(blocks)
    save(path, whole)
    shutil.rmtree(folder, ignore_errors=True)
    return whole
