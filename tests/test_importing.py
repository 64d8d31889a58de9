"""Precomputed vectors: checked whole, verified by their model, and never mixed."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from sqlalchemy import text as sql

from ingest.importing import ImportRequest, import_vectors
from ingest.pipeline import IngestRequest, ingest
from search_app import exporting
from search_app.bootstrap import Services
from search_app.catalog import collections, indexes
from search_app.catalog.engine import reading
from search_app.errors import EmbedderError, InvalidInputError, ModelMismatchError
from search_app.exporting import Format
from search_app.types import Collection, IndexState

PASSAGES = 6
MODEL = "hashing:128"


@pytest.fixture
async def collection(services: Services, tmp_path: Path) -> AsyncIterator[Collection]:
    folder = tmp_path / "notes"
    folder.mkdir()
    for number in range(PASSAGES):
        path = folder / f"note{number}.md"
        path.write_text(f"# Note {number}\n\nFerry {number} to island {number}.", encoding="utf-8")
    other = tmp_path / "other.txt"
    other.write_text("What only makes the other model known.", encoding="utf-8")
    for name, path, embedder in (
        ("notes", folder, "hashing:64"),
        ("elsewhere", other, MODEL),
    ):
        request = IngestRequest(arguments=[str(path)], collection=name, embedder=embedder)
        await ingest(services, request)
    async with reading(services.engine) as connection:
        yield await collections.get(connection, "notes")


async def made(
    services: Services,
    path: Path,
    change: Callable[[list[str], list[list[float]]], None] | None = None,
) -> Path:
    """Write a file of what another model says of the passages of the collection."""
    async with reading(services.engine) as connection:
        index = await indexes.active(connection, await collections.get(connection, "notes"))
        rows = await connection.execute(
            sql(
                "SELECT c.id, c.context, c.text FROM chunks c JOIN vector_records r "
                "ON r.chunk_id = c.id WHERE r.index_id = :index ORDER BY c.id"
            ),
            {"index": index.id},
        )
        found = [(str(row.id), f"{row.context}\n\n{row.text.strip()}") for row in rows]
    ids = [identity for identity, _ in found]
    matrix = await services.embedder(MODEL).embed([text for _, text in found], "document")
    vectors = matrix.tolist()
    if change is not None:
        change(ids, vectors)
    lines = [
        f"{identity},{' '.join(map(str, vector))}"
        for identity, vector in zip(ids, vectors, strict=True)
    ]
    path.write_text("\n".join(["chunk_id,vector", *lines, ""]), encoding="utf-8")
    return path


async def states(services: Services, collection: Collection) -> list[str]:
    async with reading(services.engine) as connection:
        return sorted(index.state for index in await indexes.live(connection, collection))


@pytest.mark.parametrize("kind", ["csv", "parquet", "npy"])
async def test_what_its_model_made_becomes_an_index(
    services: Services, collection: Collection, tmp_path: Path, kind: Format
) -> None:
    path = await made(services, tmp_path / "in.csv")
    if kind != "csv":
        path = converted(kind, path)
    report = await import_vectors(
        services, ImportRequest(file=path, collection="notes", embedder=MODEL)
    )
    assert (report.imported, report.sampled) == (PASSAGES, PASSAGES)
    assert report.furthest is not None
    assert report.allowed is not None
    assert report.furthest <= report.allowed
    assert report.unverified is None
    assert report.built.state is IndexState.READY
    assert (report.built.embedded, report.built.copied) == (0, PASSAGES)
    assert await states(services, collection) == ["active", "ready"]
    async with reading(services.engine) as connection:
        built = await indexes.get(connection, report.built.index_id)
    export = await exporting.prepare(services, collection, index=built, kind="csv")
    exported = [page async for page in exporting.pages(services, export)]
    assert {row["run_id"] for page in exported for row in page.rows} == {str(report.run_id)}


def converted(kind: Format, path: Path) -> Path:
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    ids = [line.split(",")[0] for line in lines]
    vectors = np.array([line.split(",")[1].split() for line in lines], dtype=np.float32)
    target = path.with_suffix(f".{kind}")
    if kind == "npy":
        np.save(target, vectors)
        path.write_text("\n".join(["chunk_id", *ids, ""]), encoding="utf-8")
        return target
    table = pa.table({"chunk_id": ids, "vector": vectors.tolist()})
    parquet.write_table(table, target)
    return target


async def test_what_the_file_lacks_is_embedded(
    services: Services, collection: Collection, tmp_path: Path
) -> None:
    def change(ids: list[str], vectors: list[list[float]]) -> None:
        del ids[2:], vectors[2:]

    path = await made(services, tmp_path / "in.csv", change)
    report = await import_vectors(
        services, ImportRequest(file=path, collection=collection.name, embedder=MODEL)
    )
    assert report.imported == 2
    assert report.built.state is IndexState.READY
    assert report.built.copied + report.built.embedded == PASSAGES


def _zero(ids: list[str], vectors: list[list[float]]) -> None:
    del ids
    vectors[1] = [0.0] * len(vectors[1])


def _nan(ids: list[str], vectors: list[list[float]]) -> None:
    del ids
    vectors[1][0] = float("nan")


def _twice(ids: list[str], vectors: list[list[float]]) -> None:
    del vectors
    ids[1] = ids[0]


def _unknown(ids: list[str], vectors: list[list[float]]) -> None:
    del vectors
    ids[1] = str(uuid4())


def _nameless(ids: list[str], vectors: list[list[float]]) -> None:
    del vectors
    ids[1] = "one"


def _ragged(ids: list[str], vectors: list[list[float]]) -> None:
    del ids
    vectors[1].pop()


def _short(ids: list[str], vectors: list[list[float]]) -> None:
    del ids
    for vector in vectors:
        vector.pop()


def _none(ids: list[str], vectors: list[list[float]]) -> None:
    ids.clear()
    vectors.clear()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_zero, "zero or has numbers that are not finite"),
        (_nan, "zero or has numbers that are not finite"),
        (_twice, "is there twice"),
        (_unknown, "has no passage"),
        (_nameless, "is no file of vectors"),
        (_ragged, "is no file of vectors"),
        (_short, "127 dimensions, those of"),
        (_none, "holds no vector"),
    ],
)
async def test_a_file_with_a_fault_changes_nothing(
    services: Services,
    collection: Collection,
    tmp_path: Path,
    change: Callable[[list[str], list[list[float]]], None],
    said: str,
) -> None:
    path = await made(services, tmp_path / "in.csv", change)
    with pytest.raises(InvalidInputError, match=said):
        await import_vectors(services, ImportRequest(file=path, collection="notes", embedder=MODEL))
    assert await states(services, collection) == ["active"]


async def test_vectors_of_another_model_are_refused(
    services: Services, collection: Collection, tmp_path: Path
) -> None:
    def change(ids: list[str], vectors: list[list[float]]) -> None:
        del ids
        for place, vector in enumerate(vectors):
            vectors[place] = vector[::-1]

    path = await made(services, tmp_path / "in.csv", change)
    with pytest.raises(ModelMismatchError, match="nothing was imported"):
        await import_vectors(services, ImportRequest(file=path, collection="notes", embedder=MODEL))
    assert await states(services, collection) == ["active"]


async def test_another_model_behind_the_declared_version_is_refused(
    services: Services, collection: Collection, tmp_path: Path
) -> None:
    path = await made(services, tmp_path / "in.csv")
    async with reading(services.engine) as connection:
        elsewhere = await collections.get(connection, "elsewhere")
        version = (await indexes.active(connection, elsewhere)).model_version_id
    services._embedders[MODEL] = services.embedder("hashing:64")
    with pytest.raises(EmbedderError):
        await import_vectors(
            services,
            ImportRequest(file=path, collection="notes", model_version=str(version)),
        )
    assert await states(services, collection) == ["active"]


async def test_vectors_of_the_model_that_answers_already_are_refused(
    services: Services, collection: Collection, tmp_path: Path
) -> None:
    export = await exporting.prepare(services, collection, kind="csv")
    path = tmp_path / "same.csv"
    path.write_bytes(b"".join([piece async for piece in exporting.stream(services, export)]))
    with pytest.raises(InvalidInputError, match="already"):
        await import_vectors(
            services, ImportRequest(file=path, collection="notes", embedder="hashing:64")
        )
    with pytest.raises(InvalidInputError, match="say what made the vectors"):
        await import_vectors(services, ImportRequest(file=path, collection="notes"))
