"""Vectors taken elsewhere: every format has the same, with where it comes from."""

import csv
import io
import zipfile
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet
from starlette.testclient import TestClient

from ingest.cli import export as command
from ingest.pipeline import IngestRequest, ingest, remove
from search_app import exporting
from search_app.bootstrap import Services
from search_app.catalog import analyses, collections, indexes
from search_app.catalog.engine import reading, transaction
from search_app.config import Settings
from search_app.errors import InvalidInputError, NotFoundError
from search_app.exporting import Export, Format
from search_app.types import Collection
from search_app.web.app import create_app

PASSAGES = 7


@pytest.fixture
async def collection(services: Services, tmp_path: Path) -> AsyncIterator[Collection]:
    folder = tmp_path / "notes"
    folder.mkdir()
    for number in range(PASSAGES):
        text = f'# Note {number}\n\nOf "ferries", numbers like {number} and 図書館.\n'
        (folder / f"note{number}.md").write_text(text, encoding="utf-8")
    await ingest(services, IngestRequest(arguments=[str(folder)], collection="notes"))
    async with reading(services.engine) as connection:
        yield await collections.get(connection, "notes")


async def exported(
    services: Services, collection: Collection, kind: Format, *, texts: bool = False
) -> tuple[Export, bytes]:
    export = await exporting.prepare(services, collection, kind=kind, texts=texts)
    return export, b"".join([piece async for piece in exporting.stream(services, export)])


def lines(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def from_npy(data: bytes) -> tuple[Any, list[dict[str, str]]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return np.load(io.BytesIO(archive.read("vectors.npy"))), lines(archive.read("rows.csv"))


async def test_every_format_has_the_same_vectors_to_the_bit(
    services: Services, collection: Collection
) -> None:
    table = parquet.read_table(
        io.BytesIO((await exported(services, collection, "parquet", texts=True))[1])
    ).to_pylist()
    rows = lines((await exported(services, collection, "csv", texts=True))[1])
    vectors, beside = from_npy((await exported(services, collection, "npy", texts=True))[1])
    assert len(table) == len(rows) == len(beside) == len(vectors) == PASSAGES
    for place, (packed, row, other) in enumerate(zip(table, rows, beside, strict=True)):
        from_text = np.array(row.pop("vector").split(), dtype="<f4")
        from_table = np.array(packed.pop("vector"), dtype="<f4")
        assert from_text.tobytes() == from_table.tobytes() == vectors[place].tobytes()
        assert sha256(vectors[place].tobytes()).hexdigest() == row["vector_hash"]
        assert row == other
        assert {name: "" if value is None else str(value) for name, value in packed.items()} == row
    assert {row["collection"] for row in rows} == {"notes"}
    assert len({row["model"] for row in rows} - {""}) == 1
    assert all(row["run_id"] and row["index_id"] and row["model_version_id"] for row in rows)
    assert any("図書館" in row["text"] for row in rows)


async def test_texts_are_left_out_unless_wanted(services: Services, collection: Collection) -> None:
    export, data = await exported(services, collection, "csv")
    assert "text" not in export.columns
    assert "図書館" not in data.decode()
    assert len(data.decode().splitlines()) == PASSAGES + 1


async def test_clusters_and_places_are_those_kept_last(
    services: Services, collection: Collection
) -> None:
    async with transaction(services.engine) as connection:
        index = await indexes.active(connection, collection)
        ids = (await services.store(index.store).scan(index.id))[:2]
        analysis = await analyses.add(
            connection,
            collection_id=collection.id,
            index_id=index.id,
            model_version_id=index.model_version_id,
            kind=analyses.CLUSTERS,
            parameters={},
            seed=0,
            numbers={},
            seconds=1,
        )
        chunk_ids = [point.chunk_id for point in ids]
        await analyses.add_members(connection, analysis, chunk_ids, [3, 4], [0.9, 0.8])
    _, data = await exported(services, collection, "csv")
    found = {row["chunk_id"]: row["cluster"] for row in lines(data)}
    assert [found[str(chunk_id)] for chunk_id in chunk_ids] == ["3", "4"]
    assert sorted(found.values()) == [""] * (PASSAGES - 2) + ["3", "4"]


async def test_many_passages_go_page_by_page(
    services: Services, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = lines((await exported(services, collection, "csv"))[1])
    monkeypatch.setattr(exporting, "_PAGE", 2)
    assert lines((await exported(services, collection, "csv"))[1]) == whole
    packed = parquet.read_table(
        io.BytesIO((await exported(services, collection, "parquet"))[1])
    ).to_pylist()
    assert [row["chunk_id"] for row in packed] == [row["chunk_id"] for row in whole]


async def test_an_empty_index_is_an_empty_file(services: Services, tmp_path: Path) -> None:
    path = tmp_path / "one.txt"
    path.write_text("Something that goes again.", encoding="utf-8")
    await ingest(services, IngestRequest(arguments=[str(path)], collection="one"))
    path.unlink()
    await remove(services, sources=[str(path)], collection="one")
    async with reading(services.engine) as connection:
        one = await collections.get(connection, "one")
    assert lines((await exported(services, one, "csv"))[1]) == []
    vectors, rows = from_npy((await exported(services, one, "npy"))[1])
    assert vectors.shape == (0, 64)
    assert rows == []
    packed = parquet.read_table(io.BytesIO((await exported(services, one, "parquet"))[1]))
    assert packed.num_rows == 0


async def test_an_index_of_another_collection_is_refused(
    services: Services, collection: Collection, tmp_path: Path
) -> None:
    path = tmp_path / "other.txt"
    path.write_text("Of another collection.", encoding="utf-8")
    await ingest(services, IngestRequest(arguments=[str(path)], collection="other"))
    async with reading(services.engine) as connection:
        other = await indexes.active(connection, await collections.get(connection, "other"))
    with pytest.raises(InvalidInputError, match="is not of collection 'notes'"):
        await exporting.prepare(services, collection, index=other)


async def test_without_pyarrow_parquet_says_what_to_do(
    services: Services, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search_app.exporting.find_spec", lambda _: None)
    with pytest.raises(InvalidInputError, match=r"pip install 'unmoved\[export\]'"):
        await exporting.prepare(services, collection)


async def test_the_api_streams_and_the_page_links(
    services: Services, collection: Collection, settings: Settings
) -> None:
    with TestClient(create_app(settings, services), base_url="http://localhost") as client:
        answer = client.get("/api/v1/collections/notes/export", params={"format": "csv"})
        assert answer.status_code == 200
        assert "attachment" in answer.headers["content-disposition"]
        assert len(lines(answer.content)) == PASSAGES
        assert client.get("/api/v1/collections/nowhere/export").status_code == 404
        assert (
            client.get("/api/v1/collections/notes/export", params={"format": "xml"}).status_code
            == 422
        )
        page = client.get(f"/collections/{collection.id}").text
        assert f"/api/v1/collections/{collection.id}/export?format=csv" in page


@pytest.mark.usefixtures("collection")
async def test_the_command_writes_all_or_nothing(settings: Settings, tmp_path: Path) -> None:
    files = command._files(tmp_path / "out.npy", force=False)
    await command._export(settings, "notes", "", files, texts=False)
    rows = lines((tmp_path / "out.csv").read_bytes())
    assert np.load(tmp_path / "out.npy").shape == (len(rows), 64) == (PASSAGES, 64)
    with pytest.raises(InvalidInputError, match="is there already"):
        command._files(tmp_path / "out.csv", force=False)
    with pytest.raises(InvalidInputError, match="let it end in"):
        command._files(tmp_path / "out.txt", force=False)
    with pytest.raises(NotFoundError):
        await command._export(settings, "notes", "feed", [tmp_path / "no.csv"], texts=False)
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {"out.npy", "out.csv"}
