"""Parsers that hang, crash, take all memory or are killed cost their own file and nothing else."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from ingest import loaders
from ingest.parsing import ParserPool, Parsing
from ingest.parsing.workers import Ending
from ingest.sources import discover
from ingest.types import LoadedDocument, LoadOptions, SourceRef
from search_app.errors import ParsingUnavailableError, SourceError

FAULTS = ("tests.parser_faults",)
DATA = Path(__file__).parent.parent.parent / "shared" / "data" / "files"

MakePool = Callable[..., ParserPool]


@pytest.fixture
def make_pool() -> Iterator[MakePool]:
    """Make pools that know the faulty parsers; after a test no process may be left of them."""
    pools: list[ParserPool] = []

    def make(*, workers: int = 2, seconds: float = 30, memory_mb: int = 512) -> ParserPool:
        pool = ParserPool(workers=workers, seconds=seconds, memory_mb=memory_mb, modules=FAULTS)
        pools.append(pool)
        return pool

    yield make
    for pool in pools:
        pool.close()
    assert our_children() == []


def our_children() -> list[psutil.Process]:
    every = psutil.Process().children(recursive=True)
    return [child for child in every if "fork_server" in " ".join(command(child))]


def command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def source(folder: Path, name: str, content: str) -> SourceRef:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    (ref,) = discover([str(path)])
    assert isinstance(ref, SourceRef)
    return ref


def submit(pool: ParserPool, folder: Path, name: str, content: str) -> Parsing:
    return pool.submit(source(folder, f"{name}.txt", content), LoadOptions())


def fault(pool: ParserPool, folder: Path, name: str) -> Parsing:
    return submit(pool, folder, name, f"fault: {name}\n")


def only(parsing: Parsing) -> LoadedDocument:
    (found,) = parsing
    assert isinstance(found, LoadedDocument), found
    return found


def reason(parsing: Parsing) -> str:
    (found,) = parsing
    assert isinstance(found, SourceError)
    return found.reason


def until(true: Callable[[], bool]) -> None:
    while not true():
        time.sleep(0.02)


def test_what_workers_read_is_what_is_read_without_them() -> None:
    if not DATA.exists():
        pytest.skip("no sample files beside the repository")
    found = [ref for ref in discover([str(DATA)]) if isinstance(ref, SourceRef)]
    refs = [ref for ref in found if loaders.is_isolated(ref) and ref.size < 400_000]
    assert len(refs) > 20
    with closing(ParserPool(workers=2)) as pool:
        submitted = [pool.submit(ref, LoadOptions()) for ref in refs]
        read = [list(parsing) for parsing in submitted]
    for ref, ours in zip(refs, read, strict=True):
        assert shown(ours) == shown(list(loaders.load(ref, LoadOptions())))


def shown(found: list[LoadedDocument | SourceError]) -> list[LoadedDocument | tuple[str, str]]:
    return [(one.source, one.reason) if isinstance(one, SourceError) else one for one in found]


def test_nothing_is_started_for_nothing(make_pool: MakePool) -> None:
    threads = threading.active_count()
    pool = make_pool()
    assert our_children() == []
    assert threading.active_count() == threads
    pool.close()


def test_every_fault_costs_its_own_file_only(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(seconds=5, memory_mb=300)
    too_large = "takes more than 300 MB to read; raise UNMOVED_PARSE_MEMORY_MB"
    too_slow = "takes longer than 5 s to read; raise UNMOVED_PARSE_SECONDS"
    expected = {
        "hang": too_slow,
        "deaf": too_slow,
        "crash": "its parser crashed (SIGSEGV)",
        "leave": "its parser crashed (exit code 3)",
        "abort": (
            "its parser crashed (SIGABRT); if the file is large, raise UNMOVED_PARSE_MEMORY_MB"
        ),
        "bomb": too_large,
        "mapped_bomb": too_large,
        "odd": "cannot be read: OddError: odd",
        "panic": "cannot be read: PanicError: called unwrap on a None value",
        "leaving": "cannot be read: SystemExit: 0",
        "interrupt": "cannot be read: KeyboardInterrupt: ",
        "unpicklable": (
            "its parser gave what cannot be passed on: "
            "Object of type object is not JSON serializable"
        ),
        "bent": "its parser gave what is no document: 'int' object is not iterable",
    }
    submitted = []
    for name in expected:
        submitted.append((name, fault(pool, tmp_path, name)))
        innocent = submit(pool, tmp_path, f"after {name}", f"Written after {name}.\n")
        submitted.append((f"after {name}", innocent))
    for name, parsing in submitted:
        if name in expected:
            assert reason(parsing) == expected[name], name
        else:
            assert only(parsing).text == f"Written {name}.\n"


def test_what_came_before_a_crash_is_kept(make_pool: MakePool, tmp_path: Path) -> None:
    first, second = fault(make_pool(), tmp_path, "half")
    assert isinstance(first, LoadedDocument)
    assert isinstance(second, SourceError)
    assert second.reason == "its parser crashed (SIGSEGV)"


def test_workers_are_silent(
    make_pool: MakePool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pool = make_pool()
    assert only(fault(pool, tmp_path, "loud")).text == "text"
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_workers_have_no_threads_and_nothing_of_ours(make_pool: MakePool, tmp_path: Path) -> None:
    assert only(fault(make_pool(), tmp_path, "threads")).text == "1 False"


def test_a_worker_is_kept_unless_much_memory_is_left_in_it(
    make_pool: MakePool, tmp_path: Path
) -> None:
    pool = make_pool(workers=1, memory_mb=600)
    pids = [only(fault(pool, tmp_path, "whoami")).text for _ in range(3)]
    assert len(set(pids)) == 1
    # Below half of the limit it stays, above it goes.
    assert only(fault(pool, tmp_path, "large")).text == f"{pids[0]} held 200000000"
    assert only(fault(pool, tmp_path, "whoami")).text not in pids


def test_a_reader_that_is_slow_holds_the_worker_back(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(workers=1, seconds=5)
    parsing = iter(fault(pool, tmp_path, "stream"))
    assert isinstance(next(parsing), LoadedDocument)
    (worker,) = our_workers()
    until(lambda: worker.status() == psutil.STATUS_SLEEPING)
    until(lambda: idle(worker))
    # Longer than the file may take: waiting for the reader does not count.
    time.sleep(5.5)
    assert len(list(parsing)) == 199


def idle(process: psutil.Process) -> bool:
    before = process.cpu_times()
    time.sleep(0.3)
    return process.cpu_times() == before


def our_workers() -> list[psutil.Process]:
    return [worker for server in our_servers() for worker in server.children()]


def alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def our_servers() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if child in our_children()]


def test_an_idle_worker_that_is_killed_costs_nothing(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(workers=1)
    first = only(fault(pool, tmp_path, "whoami")).text
    os.kill(int(first), signal.SIGKILL)
    assert only(fault(pool, tmp_path, "whoami")).text != first


def test_a_worker_killed_at_work_costs_its_file(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(workers=1)
    hanging, waiting = fault(pool, tmp_path, "hang"), fault(pool, tmp_path, "whoami")
    until(lambda: len(our_workers()) == 1)
    our_workers()[0].kill()
    assert reason(hanging) == "its parser was killed from outside; run again"
    assert only(waiting).text


def test_a_killed_fork_server_costs_nothing(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(workers=1, seconds=3)
    first = only(fault(pool, tmp_path, "whoami")).text
    (worker,) = our_workers()
    our_servers()[0].kill()
    until(lambda: not alive(worker))
    assert only(fault(pool, tmp_path, "whoami")).text != first
    hanging = fault(pool, tmp_path, "hang")
    until(lambda: any(worker.pid != int(first) for worker in our_workers()))
    our_servers()[0].kill()
    # It was not the file that ended its first worker, so it got a second.
    assert reason(hanging).startswith("takes longer than 3 s")


def test_processes_that_cannot_be_started_are_told(
    make_pool: MakePool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.parsing.workers._BOOT", "raise SystemExit(1)")
    with pytest.raises(ParsingUnavailableError, match="cannot be started"):
        only(fault(make_pool(), tmp_path, "whoami"))


def test_closing_ends_what_is_under_way(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(workers=1, seconds=600)
    hanging, waiting = fault(pool, tmp_path, "hang"), fault(pool, tmp_path, "whoami")
    until(lambda: len(our_workers()) == 1)
    closer = threading.Timer(0.2, pool.close)
    closer.start()
    for parsing in (hanging, waiting):
        with pytest.raises(CancelledError):
            list(parsing)
    closer.join()
    assert our_children() == []


def test_closing_while_the_server_still_imports(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool()
    parsing = fault(pool, tmp_path, "whoami")
    until(lambda: bool(our_children()))
    pool.close()
    with pytest.raises(CancelledError):
        list(parsing)


def test_closing_while_a_worker_waits_for_its_reader(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(workers=1)
    parsing = iter(fault(pool, tmp_path, "stream"))
    next(parsing)
    until(lambda: idle(our_workers()[0]))
    pool.close()
    with pytest.raises(CancelledError):
        list(parsing)


PARENT = """
import sys, time
from ingest.parsing import ParserPool
from ingest.sources import discover
from ingest.types import LoadOptions
pool = ParserPool(workers=2, modules=("tests.parser_faults",))
under_way = [pool.submit(ref, LoadOptions()) for ref in discover(sys.argv[1:])]
print("started", flush=True)
time.sleep(600)
"""


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process of its own with a hanging and a deaf worker under it."""
    names = [source(tmp_path, f"{name}.html", f"fault: {name}\n").uri for name in ("hang", "deaf")]
    (tmp_path / "temporary").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, *names],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path / "temporary")},
        start_new_session=True,
        cwd=Path(__file__).parent.parent,
    )
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def shared_memory() -> set[str]:
    # PostgreSQL, which other tests run, has its own there.
    names = {path.name for path in Path("/dev/shm").glob("*")}
    return {name for name in names if not name.startswith("PostgreSQL")}


def below(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_their_parent(
    parent: subprocess.Popen[str], number: int, tmp_path: Path
) -> None:
    before = shared_memory()
    # The server, two workers, and the child of the deaf one.
    until(lambda: len(below(parent)) == 4)
    processes = below(parent)
    parent.send_signal(number)
    parent.wait()
    gone, alive = psutil.wait_procs(processes, timeout=30)
    assert (len(gone), alive) == (4, [])
    assert list((tmp_path / "temporary").iterdir()) == []
    assert shared_memory() <= before


def test_ctrl_c_is_left_to_the_parent(parent: subprocess.Popen[str]) -> None:
    until(lambda: len(below(parent)) == 4)
    processes = below(parent)
    for process in processes:
        assert os.getpgid(process.pid) != os.getpgid(parent.pid)
        process.send_signal(signal.SIGINT)
    _, alive = psutil.wait_procs(processes, timeout=0.5)
    assert len(alive) == 4


def test_a_worker_that_will_not_die_is_told() -> None:
    assert "cannot be stopped" in Ending(status=-1, peak=0).reason(512)


def test_where_the_system_sets_no_limit_the_pool_does(
    make_pool: MakePool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.parsing.workers.LIMITS_ENFORCED", False)
    pool = make_pool(workers=1, memory_mb=5_000)
    # A limit that the worker does not have, so that only watching can find it.
    monkeypatch.setattr("ingest.parsing.workers.psutil.Process", Swollen)
    assert reason(fault(pool, tmp_path, "hang")).startswith("takes more than 5,000 MB")


class Swollen:
    def __init__(self, pid: int) -> None:
        self.pid = pid

    def memory_info(self) -> SimpleNamespace:
        return SimpleNamespace(rss=6_000_000_000)
