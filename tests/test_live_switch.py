"""A change of model over a live server under load: no search fails, and no list is mixed."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from search_app.config import Settings, load_settings
from search_app.web.app import create_app
from tests.web_site import cloned

SWITCHES = 12
USERS = 4
QUERIES = ("keeper of the light", "granite by barge", "図書館はいつ休みますか", "star maps")
MODES = ("semantic", "keyword", "hybrid")

TEXTS = (
    "The lighthouse keeper writes the weather into a blue book every evening.",
    "Granite from the quarry went by barge to the harbour of the capital.",
    "図書館は毎週月曜日に休館します。返却は入口の箱をご利用ください。",
    "The orchestra rehearses the second symphony on Thursday afternoon.",
    "The observatory lends its star maps to schools in winter.",
    "The night train to the coast has a dining car again.",
)

pytestmark = pytest.mark.slow


@contextmanager
def served(settings: Settings) -> Iterator[str]:
    """Serve from a thread on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(create_app(settings), log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def settings(postgres_url: str, template: str, tmp_path: Path) -> Iterator[Settings]:
    with cloned(postgres_url, template) as database_url:
        yield load_settings(
            DATABASE_URL=database_url, data_dir=tmp_path / "data", embedder="bundled", threads=1
        )


def command(settings: Settings, *arguments: str) -> Any:
    """Run a command of another process to its end, and give the JSON that it printed."""
    assert settings.database_url is not None
    environment = {
        **os.environ,
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "UNMOVED_DATA_DIR": str(settings.data_dir),
        "UNMOVED_EMBEDDER": settings.embedder,
        "UNMOVED_THREADS": "1",
    }
    program = str(Path(sys.executable).with_name("ingest"))
    done = subprocess.run(
        [program, *arguments, "--json"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


Key = tuple[str, str]
"""A query and a mode."""


@dataclass(kw_only=True)
class Users:
    """People who search without a pause, each in a thread; what they got is looked at at once."""

    address: str
    expected: dict[tuple[str, Key], list[str]]
    answered: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def run(self, number: int) -> None:
        """Ask one after the other until told to stop."""
        with httpx.Client(base_url=self.address, timeout=60) as client:
            while not self.stopped.is_set():
                key = (QUERIES[number % len(QUERIES)], MODES[number // 2 % len(MODES)])
                number += 1
                response = search(client, key)
                if response.status_code != httpx.codes.OK:
                    self.faults.append(f"{key}: {response.status_code} {response.text[:300]}")
                    continue
                self._look(key, response.json())

    def _look(self, key: Key, answer: dict[str, Any]) -> None:
        index_id = answer["index_id"]
        self.answered[index_id] = self.answered.get(index_id, 0) + 1
        if answer["notices"]:
            self.faults.append(f"{key}: {answer['notices']}")
        parts = {(hit["index_id"], hit["model_version_id"]) for hit in answer["hits"]}
        if parts != {(index_id, answer["model_version_id"])}:
            self.faults.append(f"{key}: mixed {parts} in an answer of {index_id}")
        # Told apart by more than their own word: each index ranks in its own way.
        if chunks_of(answer) != self.expected.get((index_id, key), chunks_of(answer)):
            self.faults.append(f"{key}: not the list of index {index_id}")


def search(client: httpx.Client, key: Key, **more: str) -> httpx.Response:
    query, mode = key
    return client.post("/api/v1/search", json={"query": query, "mode": mode, "k": 5, **more})


def chunks_of(answer: dict[str, Any]) -> list[str]:
    return [hit["chunk_id"] for hit in answer["hits"]]


def keys() -> Sequence[Key]:
    return [(query, mode) for query in QUERIES for mode in MODES]


@contextmanager
def under_load(users: Users) -> Iterator[None]:
    threads = [threading.Thread(target=users.run, args=(number,)) for number in range(USERS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        users.stopped.set()
        for thread in threads:
            thread.join()


def test_a_change_of_model_fails_and_mixes_nothing(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    for number, text in enumerate(TEXTS):
        (folder / f"{number}.md").write_text(f"# Note {number}\n\n{text}\n", encoding="utf-8")
    first = command(settings, "add", str(folder))["index_id"]
    with served(settings) as address, httpx.Client(base_url=address, timeout=60) as client:
        expected = {(first, key): chunks_of(search(client, key).json()) for key in keys()}
        users = Users(address=address, expected=expected)
        with under_load(users):
            built = command(settings, "reindex", "--embedder", "hashing:384")
            second = built["index_id"]
            assert built["embedded"] == len(TEXTS)
            for key in keys():
                expected[second, key] = chunks_of(search(client, key, index=second).json())
            post(client, f"/indexes/{second}/activate")
            for number in range(SWITCHES):
                wait_for_answers(users, first if number % 2 else second)
                post(client, "/collections/default/rollback")
            # Now the second one answers again or the first; the other goes while people search.
            left = post(client, f"/indexes/{second}/activate")["left_index_id"] or first
            post(client, f"/indexes/{left}/retire")
            command(settings, "retire", left)
            wait_for_answers(users, second)
    assert users.faults == []
    assert users.answered[first] > SWITCHES
    assert users.answered[second] > SWITCHES
    # Both lists of at least one question differ, or nothing could have been noticed.
    assert any(expected[first, key] != expected[second, key] for key in keys())


def wait_for_answers(users: Users, index_id: str) -> None:
    """Wait until the index that was switched to has answered somebody."""
    before = users.answered.get(index_id, 0)
    until = time.monotonic() + 60
    while users.answered.get(index_id, 0) <= before:
        assert time.monotonic() < until, f"index {index_id} answers nobody: {users.faults[:3]}"
        time.sleep(0.005)


def post(client: httpx.Client, path: str) -> dict[str, Any]:
    response = client.post(f"/api/v1{path}", json={})
    assert response.status_code == httpx.codes.OK, response.text
    found: dict[str, Any] = response.json()
    return found
