"""Recorded exchanges with real providers, and the vectors in them, for replays."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search_app.types import Matrix

DATA = Path(__file__).parents[2] / "shared" / "data"
RECORDINGS = DATA / "api_recordings"
VECTORS = DATA / "embeddings" / "api_responses.jsonl"


def recorded(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give the body of a recorded request, and its answer; skips where there are none."""
    path = RECORDINGS / f"{name}.yaml"
    if not path.exists():
        pytest.skip(f"recorded exchanges are not at {RECORDINGS}")
    yaml = pytest.importorskip("yaml")
    exchange = yaml.load(path.read_text(encoding="utf-8"), Loader=_loader(yaml))["interactions"][0]
    return exchange["request"]["parsed_body"], exchange["response"]


def recorded_vectors(name: str) -> Matrix:
    """Give the vectors of a recorded answer, (n, d) float32, as they were listed apart from it."""
    if not VECTORS.exists():
        pytest.skip(f"recorded vectors are not at {VECTORS}")
    return np.array(_vectors()[f"{name}.yaml"], np.float64).astype(np.float32)


@cache
def _vectors() -> dict[str, list[list[float]]]:
    found: dict[str, list[list[float]]] = {}
    for line in VECTORS.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        found.setdefault(row["cassette"], []).append(row["vector"])
    return found


def _loader(yaml: Any) -> Any:
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)
