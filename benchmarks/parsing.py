"""Parsing in worker processes against parsing in this one, in the same run.

On so many cores as there are; what one hanging file costs the others; the workers' memory.
"""

import resource
import shutil
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil

from benchmarks.workplace import figure, heading
from ingest import loaders
from ingest.parsing import ParserPool
from ingest.parsing.pool import PRELOADED
from ingest.sources import discover
from ingest.types import LoadedDocument, LoadOptions, SourceRef
from search_app.errors import SourceError

SAMPLES = Path(__file__).parent.parent.parent / "shared" / "data" / "files"
OWN_DOCS = Path(__file__).parent.parent / "docs"
FILES = 1_000
SMALL = 600
MOST_BYTES = 400_000
HANG_SECONDS = 5.0
TARGET_CORES = 2

Found = LoadedDocument | SourceError


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory(prefix="unmoved-bench-") as folder:
        refs = _mixed(Path(folder) / "mixed", FILES)
        rates(refs)
        hanging(Path(folder))
        overhead(Path(folder) / "small")


def rates(refs: Sequence[SourceRef]) -> None:
    """Compare the time of reading all files with workers and without."""
    isolated = sum(loaders.is_isolated(ref) for ref in refs)
    heading(f"parsing {len(refs):,} mixed files, {isolated:,} of them in worker processes")
    for ref in refs[:20]:
        # What is loaded at first use is in neither figure.
        list(loaders.load(ref, LoadOptions()))
    alone, read_alone = _timed(lambda: _read_here(refs))
    pool = ParserPool()
    with closing(pool), _peaks() as peaks:
        started, _ = _timed(lambda: _read_with(pool, refs[:20]))
        pooled, read_pooled = _timed(lambda: _read_with(pool, refs))
    # Known only once they have ended.
    workers_processor = _processor(resource.RUSAGE_CHILDREN)
    again, _ = _timed(lambda: _read_here(refs))
    assert read_alone == read_pooled
    ratio = min(alone.wall, again.wall) / pooled.wall
    cores = pool.workers
    figure("documents", f"{read_pooled:,}")
    figure("in this process, before and after", f"{alone.wall:.1f} s, {again.wall:.1f} s")
    figure("of it processor time", f"{alone.processor:.1f} s, {again.processor:.1f} s")
    figure(f"with {cores} workers", f"{pooled.wall:.1f} s, {FILES / pooled.wall:,.0f} files/s")
    figure(
        "of it processor time, here and in workers",
        f"{pooled.processor:.1f} s, {workers_processor:.1f} s",
    )
    figure(
        "with workers / in this process",
        f"{ratio:.2f} x",
        target=f">= {TARGET_CORES} x on {TARGET_CORES} cores",
        reached=ratio >= TARGET_CORES if cores == TARGET_CORES else None,
    )
    figure("start of the pool, with its first 20 files", f"{started.wall:.2f} s")
    figure("largest worker, peak resident", f"{max(peaks.values()) / 2**20:,.0f} MiB")


def hanging(folder: Path) -> None:
    """Compare reading with and without one file that hangs till its time is up."""
    heading(f"one file that hangs for {HANG_SECONDS:g} s among {SMALL} others")
    refs = _mixed(folder / "few", SMALL, most_bytes=MOST_BYTES)
    seconds = {}
    for name in ("without", "with"):
        if name == "with":
            middle = len(refs) // 2
            path = folder / "few" / "hang.html"
            path.write_text("<p>Never read to its end.</p>", encoding="utf-8")
            refs[middle:middle] = _found(path)
        pool = ParserPool(seconds=HANG_SECONDS, modules=(*PRELOADED, "benchmarks.hanging"))
        with closing(pool):
            _read_with(pool, refs[:20])
            taken, _ = _timed(partial(_read_with, pool, refs))
        seconds[name] = taken.wall
        figure(f"{name} it", f"{seconds[name]:.1f} s")
    lost = seconds["with"] - seconds["without"]
    figure(
        "lost",
        f"{lost:.1f} s",
        target=f"<= {HANG_SECONDS:g} s + 1",
        reached=lost <= HANG_SECONDS + 1,
    )


def overhead(folder: Path) -> None:
    """Compare files so small that handing them over is most of the work."""
    heading(f"{FILES:,} HTML files of one line")
    folder.mkdir()
    for number in range(FILES):
        text = f"<title>Note {number}</title><p>The tide was {number % 97} cm high.</p>"
        (folder / f"{number:05}.html").write_text(text, encoding="utf-8")
    refs = _found(folder)
    with closing(ParserPool()) as pool:
        _read_with(pool, refs[:20])
        here, _ = _timed(lambda: _read_here(refs))
        pooled, _ = _timed(lambda: _read_with(pool, refs))
    figure("in this process", f"{here.wall / FILES * 1000:.2f} ms a file")
    figure("with workers", f"{pooled.wall / FILES * 1000:.2f} ms a file")


def _mixed(folder: Path, count: int, *, most_bytes: int | None = None) -> list[SourceRef]:
    """Copy samples of all formats under new names until there are so many files."""
    corpus = SAMPLES if SAMPLES.exists() else OWN_DOCS
    samples = [ref for ref in _found(corpus) if most_bytes is None or ref.size <= most_bytes]
    folder.mkdir()
    for number in range(count):
        ref = samples[number % len(samples)]
        shutil.copyfile(ref.path, folder / f"{number:05}-{ref.name}")
    return _found(folder)


def _found(path: Path) -> list[SourceRef]:
    return [found for found in discover([str(path)]) if isinstance(found, SourceRef)]


def _read_here(refs: Iterable[SourceRef]) -> int:
    return sum(_count(_read(ref)) for ref in refs)


def _read_with(pool: ParserPool, refs: Iterable[SourceRef]) -> int:
    """Read in order, as a run does: the workers a few files ahead of this process."""
    waiting: deque[Iterable[Found]] = deque()
    documents = 0
    for ref in refs:
        if loaders.is_isolated(ref):
            expected_hash = loaders.content_hash(ref)
            waiting.append(pool.submit(ref, LoadOptions(), expected_hash=expected_hash))
        else:
            waiting.append(_read(ref))
        if len(waiting) > pool.ahead:
            documents += _count(waiting.popleft())
    return documents + sum(map(_count, waiting))


def _read(ref: SourceRef) -> Iterator[Found]:
    yield from loaders.load(ref, LoadOptions(), expected_hash=loaders.content_hash(ref))


def _count(found: Iterable[Found]) -> int:
    return sum(isinstance(one, LoadedDocument) for one in found)


@dataclass(frozen=True)
class Seconds:
    """What some work took, by the clock and of this process's processor time."""

    wall: float
    processor: float


def _timed(work: Callable[[], int]) -> tuple[Seconds, int]:
    began, used = time.perf_counter(), time.process_time()
    done = work()
    return Seconds(time.perf_counter() - began, time.process_time() - used), done


def _processor(whose: int) -> float:
    usage = resource.getrusage(whose)
    return usage.ru_utime + usage.ru_stime


@contextmanager
def _peaks() -> Iterator[dict[int, int]]:
    """Watch the resident memory of all processes below this one; gives peaks in bytes by pid."""
    peaks: dict[int, int] = {}
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.1):
            for child in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):
                    peaks[child.pid] = max(peaks.get(child.pid, 0), child.memory_info().rss)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield peaks
    finally:
        ended.set()
        watching.join()


if __name__ == "__main__":
    main()
