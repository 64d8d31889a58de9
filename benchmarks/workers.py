"""Workers that share an ingest against one alone, and what the queue costs."""

import asyncio
import base64
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.workplace import figure, heading, scratch_database
from search_app import jobs
from search_app.catalog import migrate
from search_app.catalog.engine import create_engine
from search_app.jobs import Job, JobStatus

DELAY_S = 0.05
"""What the endpoint takes for every request, however many texts it carries."""
DIMENSIONS = 384
REMOTE_FILES, LOCAL_FILES, QUEUED_FILES = 4_000, 120, 2_000
ROUNDS = 3

_POLL_S = 0.05
_BIN = Path(sys.executable).parent


def main() -> None:
    """Print the figures."""
    remote()
    local()
    overhead()


def remote() -> None:
    """Compare two workers with one where the model is an endpoint that answers in 50 ms."""
    heading("two workers against one, embedder a local HTTP endpoint that answers in 50 ms")
    with endpoint() as url:
        _compare(
            {"UNMOVED_EMBEDDER": "openai:m", "UNMOVED_OPENAI_BASE_URL": url}, REMOTE_FILES, 1.6
        )


def local() -> None:
    """Compare two workers with one where the model runs on the same cores."""
    heading("two workers against one, embedder on the CPU (bundled)")
    _compare({"UNMOVED_EMBEDDER": "bundled"}, LOCAL_FILES, 1.0)


def _compare(surroundings: dict[str, str], files: int, target: float) -> None:
    seconds: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus"
        write(corpus, files)
        # In turns, so that a busy minute of the machine does not meet one of them only.
        for _ in range(ROUNDS):
            for workers, taken in seconds.items():
                job = by_queue(corpus, surroundings, workers=workers)
                taken.append(job.run_seconds or 0.0)
    ratio = median(seconds[1]) / median(seconds[2])
    figure("files", f"{files:,}")
    for workers, taken in seconds.items():
        figure(f"{workers} worker(s)", ", ".join(f"{each:.1f}" for each in taken) + " s")
    figure("speed-up", f"{ratio:.2f}", target=f">= {target}", reached=ratio >= target)


def overhead() -> None:
    """Compare a job, from asking to its end, with the same ingest done by the command itself."""
    heading("the queue: one worker against ingest add (the same endpoint)")
    queued, direct = [], []
    with endpoint() as url, tempfile.TemporaryDirectory() as folder:
        surroundings = {"UNMOVED_EMBEDDER": "openai:m", "UNMOVED_OPENAI_BASE_URL": url}
        corpus = Path(folder) / "corpus"
        write(corpus, QUEUED_FILES)
        for _ in range(ROUNDS):
            job = by_queue(corpus, surroundings, workers=1)
            assert job.finished_at is not None
            queued.append((job.finished_at - job.created_at).total_seconds())
            direct.append(by_command(corpus, surroundings))
    cost = median(queued) / median(direct) - 1
    figure("ingest add", ", ".join(f"{each:.1f}" for each in direct) + " s")
    figure("by the queue", ", ".join(f"{each:.1f}" for each in queued) + " s")
    figure("overhead", f"{cost:+.1%}", target="<= 3 %", reached=cost <= 0.03)


def write(folder: Path, files: int) -> None:
    """Write documents of about three chunks each, none like another."""
    folder.mkdir()
    for number in range(files):
        sections = "\n\n".join(
            f"## Part {part}\n\n"
            + " ".join(
                f"On day {number * 7 + line} the keeper of light {number} wrote of {part} ships "
                f"and {zlib.crc32(f'{number} {part} {line}'.encode()) % 1000} gulls."
                for line in range(9)
            )
            for part in range(3)
        )
        (folder / f"{number:05}.md").write_text(f"# Log {number}\n\n{sections}", encoding="utf-8")


def by_queue(corpus: Path, surroundings: dict[str, str], *, workers: int) -> Job:
    """Ingest by so many workers into a new database, and give the job as it ended."""
    with scratch_database() as url, tempfile.TemporaryDirectory() as data, ExitStack() as stack:
        migrate.upgrade(url)
        environment = {
            **os.environ, **surroundings, "DATABASE_URL": url, "UNMOVED_DATA_DIR": data
        }  # fmt: skip
        for _ in range(workers):
            stack.enter_context(worker(environment))
        return asyncio.run(_done(url, corpus))


async def _done(url: str, corpus: Path) -> Job:
    engine = create_engine(url)
    try:
        job = await jobs.enqueue_ingest(engine, collection="default", arguments=[str(corpus)])
        while not job.ended:
            await asyncio.sleep(_POLL_S)
            job = await jobs.get(engine, job.id)
    finally:
        await engine.dispose()
    assert job.status is JobStatus.SUCCEEDED, job
    return job


def by_command(corpus: Path, surroundings: dict[str, str]) -> float:
    """Ingest by the command into a new database, and give the seconds that its run took."""
    with scratch_database() as url, tempfile.TemporaryDirectory() as data:
        migrate.upgrade(url)
        done = subprocess.run(
            [_BIN / "ingest", "add", str(corpus), "--json"],
            env={**os.environ, **surroundings, "DATABASE_URL": url, "UNMOVED_DATA_DIR": data},
            check=True,
            stdout=subprocess.PIPE,
        )
    seconds: float = json.loads(done.stdout)["seconds"]
    return seconds


@contextmanager
def worker(environment: dict[str, str]) -> Iterator[None]:
    """Run a worker that is there for its jobs."""
    process = subprocess.Popen(
        [_BIN / "ingest", "worker", "--json"], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        # The first line says that it is ready; nobody has to read the few that follow.
        process.stdout.readline()
        yield
    finally:
        process.terminate()
        process.communicate()


# --- The endpoint --------------------------------------------------------------------------------


@contextmanager
def endpoint() -> Iterator[str]:
    """Run an endpoint of the OpenAI kind in a process of its own, and give its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.workers", "serve", str(port)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        process.stdout.readline()
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.communicate()


async def serve(port: int) -> None:
    """Answer every request with vectors after the delay, until stopped."""
    server = await asyncio.start_server(_converse, "127.0.0.1", port)
    print("ready", flush=True)
    async with server:
        await server.serve_forever()


async def _converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = int(head.split("content-length:")[1].split("\r\n")[0])
            asked = json.loads(await reader.readexactly(length))
            began = time.perf_counter()
            answer = json.dumps(
                {"object": "list", "model": asked["model"], "data": _items(asked["input"])}
            ).encode()
            await asyncio.sleep(DELAY_S - (time.perf_counter() - began))
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                b"content-length: %d\r\n\r\n" % len(answer) + answer
            )
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def _items(texts: Sequence[str]) -> list[dict[str, object]]:
    return [
        {"object": "embedding", "index": index, "embedding": _vector(text)}
        for index, text in enumerate(texts)
    ]


def _vector(text: str) -> str:
    drawn = np.random.default_rng(zlib.crc32(text.encode())).standard_normal(DIMENSIONS)
    return base64.b64encode(drawn.astype("<f4").tobytes()).decode()


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        asyncio.run(serve(int(sys.argv[2])))
    else:
        main()
