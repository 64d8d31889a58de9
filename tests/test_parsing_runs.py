"""Whole runs of ingest over files whose parsers go wrong."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from ingest.parsing import pool
from ingest.pipeline import IngestRequest, ingest
from ingest.report import IngestReport
from ingest.types import LoadOptions
from search_app.bootstrap import Services
from search_app.catalog import runs
from search_app.catalog.engine import transaction
from search_app.config import Settings
from search_app.types import RunStatus


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the workers know the faulty parsers."""
    monkeypatch.setattr(pool, "PRELOADED", ("tests.parser_faults",))


def bounded(services: Services, **settings: object) -> Services:
    services.settings = services.settings.model_copy(update=settings)
    return services


def write(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


async def add(
    services: Services, *arguments: object, exclude: tuple[str, ...] = ()
) -> IngestReport:
    request = IngestRequest(
        arguments=[str(one) for one in arguments], load=LoadOptions(exclude=exclude)
    )
    return await ingest(services, request)


def workers() -> list[psutil.Process]:
    servers = [child for child in psutil.Process().children() if is_ours(child)]
    return [worker for server in servers for worker in server.children()]


def is_ours(process: psutil.Process) -> bool:
    try:
        return any("fork_server" in part for part in process.cmdline())
    except psutil.Error:
        return False


def until(true: Callable[[], bool]) -> None:
    while not true():
        time.sleep(0.05)


@pytest.mark.usefixtures("faulty")
async def test_the_rest_goes_in_and_the_next_run_tries_again(
    services: Services, tmp_path: Path
) -> None:
    folder = tmp_path / "docs"
    bounded(services, parsers=2, parse_seconds=5, parse_memory_mb=300)
    for name in ("hang", "crash", "bomb", "odd", "unpicklable"):
        write(folder, f"{name}.html", f"fault: {name}\n")
        write(folder, f"{name} after.html", f"<p>Written after {name}.</p>")
        write(folder, f"{name} beside.md", f"Written beside {name}.")
    report = await add(services, folder)
    assert (report.documents.added, report.documents.failed) == (10, 5)
    reasons = [(Path(one.source).stem, one.reason) for one in report.errors]
    assert [name for name, _ in reasons] == ["bomb", "crash", "hang", "odd", "unpicklable"]
    assert dict(reasons)["hang"] == "takes longer than 5 s to read; raise UNMOVED_PARSE_SECONDS"
    assert dict(reasons)["bomb"].startswith("takes more than 300 MB")
    assert workers() == []
    write(folder, "hang.html", "<p>No more hanging.</p>")
    again = await add(services, folder)
    assert (again.documents.added, again.documents.unchanged) == (1, 10)
    assert again.documents.failed == 4


async def test_nothing_is_started_where_nothing_hostile_is_read(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "ForkServer", None)
    folder = tmp_path / "docs"
    write(folder, "a.md", "# One\n\nText.")
    write(folder, "b.csv", "text\nRow of a table.\n")
    write(folder, "c.html", "")
    report = await add(services, folder)
    assert (report.documents.added, report.skipped) == (2, {"empty": 1})


async def test_what_is_unchanged_is_not_parsed_again(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "docs"
    write(folder, "a.html", "<p>As it was.</p>")
    await add(services, folder)
    monkeypatch.setattr(pool, "ForkServer", None)
    assert (await add(services, folder)).documents.unchanged == 1


@pytest.mark.usefixtures("faulty")
async def test_cancelling_ends_the_run_and_its_workers_at_once(
    services: Services, tmp_path: Path
) -> None:
    bounded(services, parsers=2, parse_seconds=600)
    write(tmp_path / "docs", "hang.html", "fault: hang\n")
    write(tmp_path / "docs", "deaf.html", "fault: deaf\n")
    under_way = asyncio.create_task(add(services, tmp_path / "docs"))
    await asyncio.to_thread(until, lambda: len(workers()) == 2)
    children = psutil.Process().children(recursive=True)
    ours = [child for child in children if is_ours(child)]
    under_way.cancel()
    with pytest.raises(asyncio.CancelledError):
        await under_way
    assert psutil.wait_procs(ours, timeout=30)[1] == []
    async with transaction(services.engine) as connection:
        (run,) = await runs.listing(connection)
    assert run.status is RunStatus.INTERRUPTED


@pytest.mark.usefixtures("faulty")
async def test_a_file_that_changes_between_hash_and_parsing_is_told(
    services: Services, tmp_path: Path
) -> None:
    bounded(services, parsers=1, parse_seconds=60)
    write(tmp_path / "docs", "1.html", "fault: rewrites\n")
    write(tmp_path / "docs", "2.html", "<p>First edition.</p>")
    report = await add(services, tmp_path / "docs")
    assert [(Path(one.source).name, one.reason) for one in report.errors] == [
        ("2.html", "changed while it was read; run again")
    ]
    assert (await add(services, tmp_path / "docs")).documents.added == 1


async def test_an_interrupted_reading_is_resumed_with_its_exclusions(
    services: Services, tmp_path: Path
) -> None:
    folder = tmp_path / "docs"
    write(folder, "page", "A file, for now.").rename(folder / "page.md")
    await add(services, folder, exclude=("drafts", "*.log"))
    async with transaction(services.engine) as connection:
        await connection.exec_driver_sql("UPDATE sources SET state = 'pending', seen_run_id = NULL")
    # What was a file is a folder by now, and its drafts are still nobody's business.
    (folder / "page.md").unlink()
    write(folder / "page.md", "a.md", "The page.")
    write(folder / "page.md" / "drafts", "b.md", "A draft.")
    write(tmp_path / "other", "c.md", "Something else.")
    report = await add(services, tmp_path / "other")
    assert report.documents.added == 2
    async with transaction(services.engine) as connection:
        rows = await connection.exec_driver_sql("SELECT uri FROM documents")
        uris = {Path(uri).name for (uri,) in rows}
    assert uris == {"page.md", "a.md", "c.md"}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_command_that_is_stopped_leaves_no_process(
    settings: Settings, tmp_path: Path, number: int
) -> None:
    write(tmp_path / "docs", "hang.html", "fault: hang\n")
    write(tmp_path / "docs", "deaf.html", "fault: deaf\n")
    assert settings.database_url is not None
    environment = {
        **os.environ,
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "UNMOVED_DATA_DIR": str(tmp_path / "data"),
        "UNMOVED_EMBEDDER": "hashing:64",
    }
    code = (
        # Whoever runs the tests in the background has it ignored.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import sys; from ingest.parsing import pool; from ingest.entry import main\n"
        "pool.PRELOADED = ('tests.parser_faults',); sys.argv[0] = 'ingest'; main()"
    )
    command = [sys.executable, "-c", code, "add", str(tmp_path / "docs"), "--quiet"]
    process = subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, cwd=Path(__file__).parent.parent
    )
    parent = psutil.Process(process.pid)
    # The server, two workers, and the child of the deaf one.
    while len(parent.children(recursive=True)) < 4:
        assert process.poll() is None
        time.sleep(0.05)
    below = parent.children(recursive=True)
    process.send_signal(number)
    _, said = process.communicate()
    _, alive = psutil.wait_procs(below, timeout=30)
    assert alive == []
    if number != signal.SIGKILL:
        assert (process.returncode, said) == (130, b"stopped\n")
