"""Writing vectors out: memory at two sizes, each file in a process of its own."""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.points import DIMENSIONS
from benchmarks.reconcile import fill
from benchmarks.workplace import figure, heading, own_peak_mib, scratch_services
from ingest.cli import app

SMALL, LARGE = 10_000, 100_000
KINDS = ("parquet", "csv", "npy")
_MOST = 1.15


def main() -> None:
    """Print the figures of both sizes; UNMOVED_BENCH_ROWS names others."""
    heading(f"ingest export from pgvector, {DIMENSIONS} dimensions, with texts")
    sizes = os.environ.get("UNMOVED_BENCH_ROWS", f"{SMALL},{LARGE}").split(",")
    peaks = [asyncio.run(measure(int(size))) for size in sizes]
    for kind in KINDS:
        ratio = peaks[-1][kind] / peaks[0][kind]
        figure(
            f"{kind}: peak memory, last size / first",
            f"{ratio:.2f}",
            target=f"<= {_MOST}",
            reached=ratio <= _MOST,
        )


async def measure(rows: int) -> dict[str, float]:
    """Fill an index and export it in each format; give the peaks in MiB."""
    peaks = {}
    async with scratch_services("hashing:64") as services:
        await fill(services, rows)
        address = services.engine.url.render_as_string(hide_password=False)
        with tempfile.TemporaryDirectory(prefix="unmoved-bench-") as folder:
            for kind in KINDS:
                file = str(Path(folder) / f"vectors.{kind}")
                command = [sys.executable, "-m", "benchmarks.exporting", file]
                done = await asyncio.to_thread(
                    subprocess.run,
                    command,
                    check=True,
                    stdout=subprocess.PIPE,
                    text=True,
                    env={**os.environ, "DATABASE_URL": address},
                )
                seconds, peaks[kind] = map(float, done.stdout.split()[-2:])
                figure(
                    f"{rows:,} vectors as {kind}: peak memory, seconds of computing",
                    f"{peaks[kind]:.0f} MiB, {seconds:.1f}",
                )
    return peaks


if __name__ == "__main__":
    app(
        ["export", sys.argv[1], "--collection", "bench", "--texts", "--force"],
        standalone_mode=False,
    )
    print(time.process_time(), own_peak_mib())
