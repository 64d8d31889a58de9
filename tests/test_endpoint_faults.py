"""Many chunks through an endpoint that fails in every way, again and again: one vector for each.

What passes is waited for; what does not stops the run with a line that says why, and the next run
goes on. Nothing is lost, doubled or mixed, and the key is nowhere. ``ENDPOINT_FAULTS_CHUNKS`` says
how many chunks there are; 10,000 take some minutes.
"""

import asyncio
import json
import os
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from ingest.pipeline import IngestRequest, ingest
from search_app.bootstrap import Services
from search_app.catalog.chunks import indexed_text
from search_app.embedders.batching import normalise
from search_app.embedders.hosted.transport import Plan
from search_app.embedders.openai import OpenAIEmbedder
from search_app.errors import EmbedderError
from tests.catalog_dump import dump
from tests.scripted_endpoint import (
    Item,
    Received,
    Reply,
    answer,
    body,
    encoded,
    json_body,
    reset,
    scripted_endpoint,
    stall,
    vector_of,
)

KEY = "sk-very-secret-0123456789"
MARK = "keeper"
A_FILE = 250
CHUNKS = int(os.environ.get("ENDPOINT_FAULTS_CHUNKS", "2000"))
TIMES = 2


def nan_at_the_end(items: list[Item]) -> list[Item]:
    bad = vector_of("nan").copy()
    bad[1] = np.nan
    return [*items[:-1], {**items[-1], "embedding": encoded(bad, "base64")}]


async def cut_short(request: Received, writer: asyncio.StreamWriter) -> None:
    """Give the first half of an answer for the whole."""
    whole = json.dumps({"data": [{"index": i, "embedding": "AAAA"} for i in range(9)]})
    await body(whole[: len(whole) // 2].encode())(request, writer)


async def another_model(request: Received, writer: asyncio.StreamWriter) -> None:
    texts = [f"another {text}" for text in request.texts]
    strange = Received(
        target=request.target, headers=request.headers, json={**request.json, "input": texts}
    )
    await answer()(strange, writer)


FAULTS: Mapping[str, Reply] = {
    "429 with Retry-After": json_body(
        {"error": {"message": f"slow down, {KEY}"}}, status=429, headers={"Retry-After": "0.02"}
    ),
    "429": json_body({}, status=429),
    "500": json_body({"error": {"message": f"no luck with {KEY}"}}, status=500),
    "connection reset": reset,
    "no answer": stall,
    "truncated JSON": cut_short,
    "fewer vectors": answer(change=lambda items: items[:-3]),
    "no vectors": answer(change=lambda _items: []),
    "out of order": answer(change=lambda items: items[::-1]),
    "NaN": answer(change=nan_at_the_end),
    "another dimension": answer(dimensions=5),
    "another model": another_model,
    "401": json_body({"error": {"message": f"wrong key {KEY}"}}, status=401),
}
LASTING = ("another model", "401")
"""Faults that stay until a run ended because of them."""


@dataclass(kw_only=True)
class Faulty:
    """Fails at some of the requests for documents, by a plan drawn beforehand."""

    planned: dict[int, str]
    requests: int = 0
    lasting: str | None = None
    met: Counter[str] = field(default_factory=Counter)

    async def reply(self, request: Received, writer: asyncio.StreamWriter) -> None:
        name = self.lasting
        if name is None and any(MARK in text for text in request.texts):
            self.requests += 1
            name = self.planned.pop(self.requests, None)
        if name is not None:
            self.met[name] += 1
            self.lasting = name if name in LASTING else None
        await (answer() if name is None else FAULTS[name])(request, writer)


def faulty(requests: int, times: int) -> Faulty:
    """Plan every fault so many times, at any of the first requests."""
    draw = random.Random(7)
    faults = [name for name in FAULTS for _ in range(times)]
    draw.shuffle(faults)
    places = draw.sample(range(3, requests), len(faults))
    return Faulty(planned=dict(zip(places, faults, strict=True)))


def write(folder: Path, chunks: int) -> None:
    """Write records of one chunk each, so many to a file."""
    folder.mkdir()
    for start in range(0, chunks, A_FILE):
        lines = (
            json.dumps({"id": f"{number:06}", "text": f"The {MARK} of light {number} saw a ship."})
            for number in range(start, min(start + A_FILE, chunks))
        )
        (folder / f"{start:06}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


async def ingest_to_the_end(services: Services, folder: Path, endpoint: Faulty) -> list[str]:
    """Run until a run ends well, and give what stopped the others."""
    lines = []
    for _ in range(100):
        try:
            report = await ingest(services, IngestRequest(arguments=[str(folder)]))
        except EmbedderError as exc:
            endpoint.lasting = None
            lines.append(str(exc))
        else:
            assert report.documents.failed == 0
            return lines
    raise AssertionError(f"no end of it: {lines[-3:]}")


@pytest.mark.slow
async def test_every_chunk_has_its_one_vector(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "lights", CHUNKS)
    mood = faulty(requests=CHUNKS // 16, times=TIMES)
    async with scripted_endpoint() as endpoint:
        endpoint.script(mood.reply)
        embedder = OpenAIEmbedder(
            model="m",
            base_url=endpoint.url,
            api_key=KEY,
            batch_size=16,
            plan=Plan(timeout_s=0.5, retry_wait_s=0.01, concurrency=8),
        )
        monkeypatch.setattr(services, "embedder", lambda _: embedder)
        lines = await ingest_to_the_end(services, tmp_path / "lights", mood)
        await embedder.aclose()
    assert not mood.planned, "every fault was met"
    assert set(mood.met) == set(FAULTS)
    for said in ("JSON", "vectors for 16 texts", "NaN", "dimension", "another model", "401"):
        assert any(said in line for line in lines), said
    assert all("\n" not in line and KEY not in line for line in lines)
    check_stored(services, CHUNKS)


def check_stored(services: Services, chunks: int) -> None:
    """Check that each chunk has one vector, of its own text, to the bit; and the key is nowhere."""
    assert services.settings.database_url is not None
    found = dump(services.settings.database_url.get_secret_value())
    assert KEY not in repr(found)
    assert len(found["chunks"]) == len(found["documents"]) == chunks
    assert {chunk["state"] for chunk in found["chunks"]} == {"live"}
    ids = [chunk["id"] for chunk in found["chunks"]]
    assert [row["chunk_id"] for row in found["vectors"]] == ids
    assert [row["chunk_id"] for row in found["records"]] == ids
    for chunk, stored in zip(found["chunks"], found["vectors"], strict=True):
        text = indexed_text(chunk["context"], chunk["text"])
        unit, _ = normalise(vector_of(text)[np.newaxis])
        # pgvector's binary form: two counts of two bytes, then the numbers.
        assert (np.frombuffer(stored["bytes"][4:], dtype=">f4") == unit[0]).all(), text
