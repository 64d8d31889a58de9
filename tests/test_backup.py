"""Out and back in: equal to the byte, from either store; damage and haste are noticed."""

import asyncio
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ingest.pipeline import IngestRequest, ingest, remove
from ingest.reconcile import reconcile
from search_app.backup.making import Backup, make_backup
from search_app.backup.manifest import NAME, read_manifest
from search_app.backup.restoring import restore_backup
from search_app.bootstrap import Services, open_services
from search_app.catalog import collections, indexes, locks
from search_app.catalog.engine import transaction
from search_app.cli import app
from search_app.config import Settings
from search_app.consistency.disagreements import Kind
from search_app.errors import BackupError, NotFoundError, StoreUnavailableError
from search_app.retrieval import SearchRequest
from search_app.types import Index
from search_app.uploads import Upload, upload_folder
from tests.catalog_dump import connect
from tests.conftest import Clone

DOCUMENTS = 9
ALL_ROWS = """
    SELECT table_name FROM information_schema.tables
    WHERE table_schema = 'public' AND table_type = 'BASE TABLE' ORDER BY table_name
"""


@pytest.fixture(params=["pgvector", "qdrant"])
def settings(request: pytest.FixtureRequest, settings: Settings, tmp_path: Path) -> Settings:
    """Run everything on both stores."""
    place = f"local:{tmp_path / 'qdrant'}"
    return settings.model_copy(update={"store": request.param, "qdrant_url": place})


Elsewhere = Callable[[], Settings]


@pytest.fixture
def elsewhere(clone: Clone, settings: Settings, tmp_path: Path) -> Elsewhere:
    """Give settings of another installation, empty but migrated."""
    number = iter(range(9))

    def make() -> Settings:
        place = tmp_path / f"elsewhere-{next(number)}"
        return settings.model_copy(
            update={
                "database_url": type(settings.database_url)(clone()),  # type: ignore[misc] # a secret
                "data_dir": place,
                "qdrant_url": f"local:{place / 'qdrant'}",
            }
        )

    return make


@pytest.fixture
async def filled(services: Services, tmp_path: Path) -> Index:
    """Ingest some documents, one of them uploaded, search, and give the index."""
    folder = tmp_path / "docs"
    folder.mkdir()
    for number in range(DOCUMENTS - 1):
        text = f"Note {number}: 図書館の船 number {number * 7} was repaired in the port of Vigo."
        (folder / f"{number}.md").write_text(f"# Title {number}\n\n{text}", encoding="utf-8")
    async with transaction(services.engine) as connection:
        known = await collections.get_or_create(connection, "default")
    kept = upload_folder(services.settings, known.id)
    with Upload(kept, "sent.txt", most_bytes=1000) as upload:
        upload.write(b"What was sent over the web stays.")
        upload.finish()
    arguments = [str(folder), str(kept / "sent.txt")]
    await ingest(services, IngestRequest(arguments=arguments))
    await services.searcher.search(SearchRequest(query="port of Vigo"))
    async with transaction(services.engine) as connection:
        return await indexes.active(connection, known)


def rows(settings: Settings) -> dict[str, list[str]]:
    """Read every table of the catalog and of the queue, as texts in one order."""
    assert settings.database_url is not None
    with connect(settings.database_url.get_secret_value()) as connection:
        names = [row["table_name"] for row in connection.execute(ALL_ROWS).fetchall()]
        return {
            name: sorted(
                row["text"]
                for row in connection.execute(f'SELECT t::text AS text FROM "{name}" t').fetchall()
            )
            for name in names
        }


async def points(services: Services, index: Index, store: str | None = None) -> list[Any]:
    found = await services.store(store or index.store).scan(index.id, limit=1000, vectors=True)
    return [
        (p.chunk_id, p.document_id, p.run_id, p.model_version_id, p.fields, p.vector.tobytes())
        for p in found
        if p.vector is not None
    ]


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Services]:
    async with open_services(settings) as services:
        yield services


async def hits(services: Services, mode: Any) -> list[Any]:
    request = SearchRequest(query="repaired 船 number 21", mode=mode, k=20)
    found = await services.searcher.search(request)
    return [(hit.chunk_id, hit.score, hit.text) for hit in found.hits]


async def test_a_backup_comes_back_as_it_was(
    services: Services, filled: Index, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    made = await make_backup(services, tmp_path / "backup")
    assert made.manifest.left_out == 0
    assert {path.name for path in tmp_path.iterdir() if path.name.startswith(".")} == set()
    expected, stored = rows(services.settings), await points(services, filled)
    assert len(stored) == DOCUMENTS
    there = elsewhere()
    async with opened(there) as other:
        restored = await restore_backup(other, tmp_path / "backup")
        assert restored.vectors == DOCUMENTS
        assert restored.moved_from == str(services.settings.data_dir)
        assert rows(there) == expected
        assert await points(other, filled) == stored
        (sent,) = [path for path in (there.data_dir / "uploads").rglob("*") if path.is_file()]
        assert sent.read_bytes() == b"What was sent over the web stays."
        assert (await reconcile(other)).faults == 0
        for mode in ("keyword", "semantic", "hybrid"):
            assert await hits(other, mode) == await hits(services, mode)
        # It goes on: sequences know what was given out, words are counted on.
        (tmp_path / "docs" / "new.md").write_text("# New\n\nLater than that.", encoding="utf-8")
        report = await ingest(other, IngestRequest(arguments=[str(tmp_path / "docs")]))
        assert (report.documents.added, report.documents.unchanged) == (1, DOCUMENTS - 1)
        assert (await reconcile(other)).faults == 0


async def test_vectors_can_move_to_the_other_store(
    services: Services, filled: Index, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    await make_backup(services, tmp_path / "backup")
    other_store = {"pgvector": "qdrant", "qdrant": "pgvector"}[filled.store]
    async with opened(elsewhere()) as other:
        await restore_backup(other, tmp_path / "backup", store=other_store)
        assert await points(other, filled, other_store) == await points(services, filled)
        assert (await reconcile(other)).faults == 0


@pytest.mark.usefixtures("filled")
async def test_what_is_there_is_not_overwritten_unless_it_is_said(
    services: Services, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    await make_backup(services, tmp_path / "backup")
    expected = rows(services.settings)
    with pytest.raises(BackupError, match="is there already"):
        await make_backup(services, tmp_path / "backup")
    with pytest.raises(BackupError, match="--force"):
        await restore_backup(services, tmp_path / "backup")
    there = elsewhere()
    async with opened(there) as other:
        (tmp_path / "own.txt").write_text("Something of its own.", encoding="utf-8")
        await ingest(other, IngestRequest(arguments=[str(tmp_path / "own.txt")], collection="own"))
        async with transaction(other.engine) as connection:
            own = await indexes.active(connection, await collections.get(connection, "own"))
        before = rows(there)
        with pytest.raises(BackupError, match="--force"):
            await restore_backup(other, tmp_path / "backup")
        assert rows(there) == before
        await restore_backup(other, tmp_path / "backup", force=True)
        assert rows(there) == expected
        with pytest.raises(Exception, match=r"no .*index|not exist|not found|doesn't exist"):
            await other.store(own.store).count(own.id)
    # Over itself, as after damage.
    await remove(services, sources=[str(tmp_path / "docs")], collection="default")
    await restore_backup(services, tmp_path / "backup", force=True)
    assert rows(services.settings) == expected
    assert (await reconcile(services)).faults == 0


@pytest.mark.usefixtures("filled")
async def test_a_changed_byte_is_noticed_and_named(
    services: Services, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    if services.settings.store != "pgvector":
        pytest.skip("the files are the same")
    made = await make_backup(services, tmp_path / "backup")
    there = elsewhere()
    before = rows(there)
    async with opened(there) as other:
        for number, file in enumerate(made.manifest.files):
            copy = tmp_path / "damaged"
            shutil.copytree(made.folder, copy)
            place = copy / file.path
            content = bytearray(place.read_bytes())
            content[(number * 31) % len(content)] ^= 1 << number % 8
            place.write_bytes(content)
            with pytest.raises(BackupError, match=str(place)):
                await restore_backup(other, copy)
            place.unlink()
            with pytest.raises(BackupError, match="is missing"):
                await restore_backup(other, copy)
            shutil.rmtree(copy)
        shutil.copytree(made.folder, copy)
        (copy / NAME).unlink()
        with pytest.raises(BackupError, match="no backup"):
            await restore_backup(other, copy)
        for said in (b"", b"{}", b"[]", b'{"format": 1}', b"\xff"):
            (copy / NAME).write_bytes(said)
            with pytest.raises(BackupError, match="damaged"):
                await restore_backup(other, copy)
        assert rows(there) == before
        await restore_backup(other, made.folder)


@pytest.mark.usefixtures("filled")
async def test_a_vector_that_is_not_the_recorded_one_is_noticed(
    services: Services, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    """Also where somebody made the hash of the file fit."""
    made = await make_backup(services, tmp_path / "backup")
    (vectors,) = made.manifest.vectors
    place = made.folder / vectors.file.path
    content = bytearray(place.read_bytes())
    content[100] ^= 1
    place.write_bytes(content)
    manifest = json.loads((made.folder / NAME).read_text(encoding="utf-8"))
    manifest["vectors"][0]["file"]["sha256"] = sha256(content).hexdigest()
    (made.folder / NAME).write_text(json.dumps(manifest), encoding="utf-8")
    there = elsewhere()
    before = rows(there)
    async with opened(there) as other:
        with pytest.raises(BackupError, match="not the one recorded"):
            await restore_backup(other, made.folder)
        assert rows(there) == before
        with pytest.raises(NotFoundError):
            await other.searcher.search(SearchRequest(query="port"))


async def test_another_version_is_refused(
    services: Services, filled: Index, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    assert filled.store
    made = await make_backup(services, tmp_path / "backup")
    original = (made.folder / NAME).read_text(encoding="utf-8")
    async with opened(elsewhere()) as other:
        for change, said in (({"revision": "0001"}, "0001"), ({"format": 99}, "format 99")):
            changed = json.dumps({**json.loads(original), **change})
            (made.folder / NAME).write_text(changed, encoding="utf-8")
            with pytest.raises(BackupError, match=said):
                await restore_backup(other, made.folder)


async def test_an_altered_vector_is_left_out_and_counted(
    services: Services, filled: Index, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    store = services.store(filled.store)
    one, two, *_ = await store.scan(filled.id, limit=5, vectors=True)
    await store.delete(filled.id, [one.chunk_id])
    assert two.vector is not None
    two.vector[0] += 1
    await store.upsert(filled.id, [two])
    made = await make_backup(services, tmp_path / "backup")
    assert made.manifest.left_out == 2
    async with opened(elsewhere()) as other:
        await restore_backup(other, made.folder)
        assert (await reconcile(other)).faults == 2
        assert (await reconcile(other, repair=True)).faults == 0


@pytest.mark.usefixtures("filled")
async def test_an_unreachable_store_is_no_empty_one(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from search_app.backup import making

    async def gone(*_: object, **__: object) -> None:
        raise StoreUnavailableError("nobody is there")

    monkeypatch.setattr(making, "_points", gone)
    with pytest.raises(StoreUnavailableError):
        await make_backup(services, tmp_path / "backup")
    assert not (tmp_path / "backup").exists()
    assert not [path for path in tmp_path.iterdir() if "partial" in path.name]


async def test_an_ingest_meanwhile_is_in_it_whole_or_not_at_all(
    services: Services, filled: Index, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    folder = tmp_path / "docs"

    async def change() -> None:
        for turn in range(4):
            for number in range(4):
                text = f"# Turn {turn}\n\nEdited in turn {turn}, note {number}."
                (folder / f"{number + turn % 3}.md").write_text(text, encoding="utf-8")
            await ingest(services, IngestRequest(arguments=[str(folder)]))

    changing = asyncio.create_task(change())
    made: list[Backup] = []
    while not changing.done() or not made:
        made.append(await make_backup(services, tmp_path / f"backup-{len(made)}"))
        await asyncio.sleep(0)
    await changing
    assert all(one.manifest.left_out == 0 for one in made)
    for one in (made[0], made[len(made) // 2], made[-1]):
        async with opened(elsewhere()) as other:
            await restore_backup(other, one.folder)
            # A removal may have been under way, which any run finishes.
            report = await reconcile(other, repair=True)
            assert report.faults == 0, report.as_json()
            assert set(+report.indexes[0].found) <= {Kind.STALE, Kind.UNFINISHED}
            assert filled.id == report.indexes[0].index.id


async def test_a_backup_of_qdrant_waits_for_the_run(
    services: Services, filled: Index, tmp_path: Path
) -> None:
    if filled.store == "pgvector":
        pytest.skip("nothing waits there")
    async with transaction(services.engine) as connection:
        known = await collections.get(connection, "default")
    waited: list[str] = []
    async with locks.writing(services.engine, known, lambda: None):
        making = asyncio.create_task(
            make_backup(services, tmp_path / "backup", waiting=waited.append)
        )
        await asyncio.sleep(0.5)
        assert not making.done()
    await making
    assert waited == ["default"]


KILLED = """
import asyncio, sys
from pathlib import Path
from search_app.backup import making, manifest
from search_app.bootstrap import open_services
from search_app.config import load_settings

async def main():
    async with open_services(load_settings()) as services:
        original = manifest.Writer.finish
        left = int(sys.argv[2])
        def finish(self):
            nonlocal left
            left -= 1
            if left < 0:
                print("half", flush=True)
                import time
                time.sleep(60)
            return original(self)
        manifest.Writer.finish = finish
        await making.make_backup(services, Path(sys.argv[1]))
        print("whole", flush=True)

asyncio.run(main())
"""


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("files", [0, 3, 12, 999])
def test_one_killed_leaves_nothing_that_looks_whole(
    settings: Settings, tmp_path: Path, files: int
) -> None:
    if settings.store != "pgvector":
        pytest.skip("local mode serves one process at a time")
    assert settings.database_url is not None
    environment = {
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "UNMOVED_DATA_DIR": str(settings.data_dir),
        "PATH": "",
    }
    place = tmp_path / "killed"
    command = [sys.executable, "-c", KILLED, str(place), str(files)]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
        cwd=Path(__file__).parent.parent,
    ) as process:
        assert process.stdout is not None
        said = process.stdout.readline().strip()
        process.send_signal(signal.SIGKILL)
    assert said == ("whole" if files == 999 else "half")
    assert place.exists() == (said == "whole")
    for partial in tmp_path.glob(".killed.partial-*"):
        with pytest.raises(BackupError, match="no backup"):
            read_manifest(partial)


def test_the_commands_tell_what_they_did(
    settings: Settings, elsewhere: Elsewhere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def use(chosen: Settings) -> None:
        assert chosen.database_url is not None
        monkeypatch.setenv("DATABASE_URL", chosen.database_url.get_secret_value())
        monkeypatch.setenv("UNMOVED_DATA_DIR", str(chosen.data_dir))
        monkeypatch.setenv("UNMOVED_EMBEDDER", chosen.embedder)
        monkeypatch.setenv("UNMOVED_STORE", chosen.store)
        monkeypatch.setenv("UNMOVED_QDRANT_URL", chosen.qdrant_url or "")

    from ingest.cli import app as ingest_app

    use(settings)
    note = tmp_path / "note.txt"
    note.write_text("A note about tides.", encoding="utf-8")
    runner = CliRunner()
    assert runner.invoke(ingest_app, ["add", str(note), "--quiet"]).exit_code == 0
    place = str(tmp_path / "backup")
    made = runner.invoke(app, ["backup", place, "--json"])
    assert made.exit_code == 0
    assert json.loads(made.stdout)["rows"]["documents"] == 1
    again = runner.invoke(app, ["backup", place])
    assert isinstance(again.exception, BackupError)
    use(elsewhere())
    restored = runner.invoke(app, ["restore", place])
    assert restored.exit_code == 0
    assert "1 documents, 1 vectors" in restored.stdout
    found = runner.invoke(app, ["search", "tides", "--json"])
    assert len(json.loads(found.stdout)["hits"]) == 1
    use(settings)
    with connect(settings.database_url.get_secret_value()) as connection:  # type: ignore[union-attr] # given above
        connection.execute("UPDATE vector_records SET stored_hash = sha256('other')")
    partly = runner.invoke(app, ["backup", f"{place}-2"])
    assert partly.exit_code == 1
    assert "left out: 1 vectors" in partly.stdout
