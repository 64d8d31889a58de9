"""The worker that a server on one machine runs beside itself, as a process of its own.

The web layer knows nothing of ingest: it starts the command by its name and keeps it running.
"""

import asyncio
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog

COMMAND = (sys.executable, "-m", "ingest", "worker", "--attached")

STOP_S = 20.0
"""Seconds that a worker has to put down what it does; then it is killed, which is safe too."""

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
_WELL_S = 60.0

log = structlog.get_logger()


@asynccontextmanager
async def worker_beside() -> AsyncIterator[None]:
    """Keep a worker running for as long as the block does; start it again whenever it dies."""
    keeping = asyncio.create_task(_keep())
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])


async def _keep() -> None:
    pause = FIRST_PAUSE_S
    while True:
        began = time.monotonic()
        process = await _start()
        try:
            code = await process.wait()
        finally:
            await _stop(process)
        if time.monotonic() - began > _WELL_S:
            pause = FIRST_PAUSE_S
        log.error("the worker ended", exit_code=code, again_in_s=pause)
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_S)


async def _start() -> Process:
    return await asyncio.create_subprocess_exec(
        *COMMAND,
        # Closed by the system even if this process is killed; then the worker stops by itself.
        stdin=PIPE,
        stdout=DEVNULL,
        # Out of reach of Ctrl-C in a terminal, which is for the server to pass on.
        start_new_session=True,
    )


async def _stop(process: Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_S)
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.stdin is not None:
        process.stdin.close()
