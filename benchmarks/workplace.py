"""What measurements share: services in a folder of their own, and how figures are printed."""

import resource
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from search_app.bootstrap import Services, open_services
from search_app.catalog.embedded import EmbeddedPostgres
from search_app.config import load_settings
from search_app.console import configure_logging


@contextmanager
def scratch_database() -> Iterator[str]:
    """Give the address of an embedded server that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="unmoved-bench-") as folder:
        server = EmbeddedPostgres(Path(folder))
        try:
            yield server.start()
        finally:
            server.destroy()


@asynccontextmanager
async def scratch_services(embedder: str, **settings: object) -> AsyncIterator[Services]:
    """Open services on an embedded server that is gone afterwards, with further ``settings``."""
    with tempfile.TemporaryDirectory(prefix="unmoved-bench-") as folder:
        configure_logging("warning")
        data = Path(folder) / "data"
        chosen = load_settings(data_dir=data, DATABASE_URL=None, embedder=embedder, **settings)
        try:
            async with open_services(chosen) as services:
                yield services
        finally:
            EmbeddedPostgres(data).destroy()


def heading(text: str) -> None:
    """Begin a section of the output."""
    print(f"\n## {text}", flush=True)


def figure(name: str, value: str, *, target: str = "", reached: bool | None = None) -> None:
    """Print one figure, and beside it the target and whether it was reached."""
    verdict = "" if reached is None else "reached" if reached else "NOT REACHED"
    print(f"{name:<58} {value:>22}   {target:<22} {verdict}".rstrip(), flush=True)


def peak_mib() -> float:
    """Give this process's peak resident memory in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def own_peak_mib() -> float:
    """Give the peak of this program: what the system counts begins with that of who started it."""
    status = Path("/proc/self/status")
    if not status.exists():
        return peak_mib()
    lines = status.read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**10
