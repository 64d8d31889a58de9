"""What is seen in stored vectors: number formats, lengths, tails."""

import numpy as np
import pytest

from search_app.consistency.values import (
    GRIDS,
    grids,
    leading,
    not_finite,
    off_length,
    shared_format,
    zero,
)
from search_app.types import Matrix


def units(rows: int, columns: int = 384, seed: int = 3) -> Matrix:
    drawn = np.random.default_rng(seed).normal(size=(rows, columns))
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), np.float32)


def bf16(vectors: Matrix) -> Matrix:
    return (vectors.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


def int8(vectors: Matrix) -> Matrix:
    scale = np.abs(vectors).max(axis=1, keepdims=True) / 127
    return np.asarray(np.round(vectors / scale) * scale, np.float32)


def signs(vectors: Matrix) -> Matrix:
    return np.asarray(np.sign(vectors) / np.sqrt(vectors.shape[1]), np.float32)


COARSENED = {
    "fp16": lambda vectors: vectors.astype(np.float16).astype(np.float32),
    "bf16": bf16,
    "int8": int8,
    "binary": signs,
}


@pytest.mark.parametrize("name", GRIDS)
def test_each_format_is_found_by_its_grid_and_float32_by_none(name: str) -> None:
    vectors = units(50)
    mixed = np.concatenate([vectors, COARSENED[name](vectors)])
    found = grids(mixed)
    assert found.keys() == set(GRIDS)
    for other, rows in found.items():
        assert rows[:50].sum() == 0
        assert rows[50:].sum() == (50 if other == name else 0), other
    assert shared_format(COARSENED[name](vectors)) == [name]
    assert shared_format(mixed) == []


def test_int8_scaled_to_length_one_afterwards_is_still_found() -> None:
    coarse = int8(units(20))
    scaled = (coarse / np.linalg.norm(coarse, axis=1, keepdims=True)).astype(np.float32)
    assert grids(scaled)["int8"].all()


def test_broken_rows_are_told_apart() -> None:
    vectors = units(5)
    vectors[0, 3] = np.nan
    vectors[1] = 0
    vectors[2] *= 2
    vectors[3, 0] = np.inf
    assert not_finite(vectors).tolist() == [True, False, False, True, False]
    assert zero(vectors).tolist() == [False, True, False, False, False]
    assert off_length(vectors).tolist() == [False, False, True, False, False]
    assert not any(rows.any() for rows in grids(vectors).values())


def test_a_tail_of_zeros_is_seen_and_its_head_compared() -> None:
    fresh = units(8)
    cut = fresh.copy()
    cut[:, 192:] = 0
    found = leading(cut, fresh)
    assert found is not None
    distances, size = found
    assert size == 192
    assert distances == pytest.approx(np.zeros(8), abs=1e-9)
    assert leading(fresh, fresh) is None
