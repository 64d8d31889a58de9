"""Exchanges with providers as others recorded them, and the vectors in them."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search_app.types import Matrix

DATA = Path(__file__).parents[2] / "shared" / "data"
RECORDINGS = DATA / "api_recordings"
RESPONSES = DATA / "embeddings" / "api_responses.jsonl"


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One request and its answer; header names in lower case, bodies as JSON."""

    uri: str
    asked: Any
    status: int
    headers: dict[str, str]
    answered: Any


@cache
def exchanges(name: str) -> list[Exchange]:
    """Read a recording; the test is skipped where there is none."""
    path = RECORDINGS / f"{name}.yaml"
    if not path.exists():
        pytest.skip(f"recorded exchanges are not at {RECORDINGS}")
    yaml = pytest.importorskip("yaml")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    recorded = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
    return [_exchange(each["request"], each["response"]) for each in recorded["interactions"]]


def _exchange(request: dict[str, Any], response: dict[str, Any]) -> Exchange:
    return Exchange(
        uri=request["uri"],
        asked=_json(request),
        status=response["status"]["code"],
        headers={
            key.lower(): values[0] for key, values in response["headers"].items() if len(values)
        },
        answered=_json(response),
    )


def _json(side: dict[str, Any]) -> Any:
    if "parsed_body" in side:
        return side["parsed_body"]
    body = side["body"]
    return json.loads(body["string"] if isinstance(body, dict) else body)


def vectors_of(name: str) -> Matrix:
    """Give the vectors of a recording as they were taken out of it elsewhere, in order."""
    if not RESPONSES.exists():
        pytest.skip(f"the vectors of recorded answers are not at {RESPONSES}")
    rows = _rows().get(f"{name}.yaml", [])
    # Titan says everything twice.
    return np.asarray([vector for path, vector in rows if "embeddingsByType" not in path], "<f4")


@cache
def _rows() -> dict[str, list[tuple[str, list[float]]]]:
    rows: dict[str, list[tuple[str, list[float]]]] = {}
    with RESPONSES.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            rows.setdefault(row["cassette"], []).append((row["path"], row["vector"]))
    return rows
