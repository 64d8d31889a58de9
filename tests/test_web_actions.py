"""What programs may do over HTTP: upload, ingest, remove, retry, delete, and watch the work."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from search_app.config import Settings, load_settings
from search_app.web.app import create_app
from search_app.web.guard import LARGEST_BODY
from tests.catalog_dump import connect
from tests.worker_process import PATIENCE_S, Worker, worker

HOST = "http://localhost"
JSON = {"content-type": "application/json"}
FILES = "/api/v1/collections/{}/documents"


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    return load_settings(
        DATABASE_URL=database_url,
        data_dir=tmp_path / "data",
        embedder="hashing:64",
        max_file_mb=2,
        ingest_roots=str(allowed),
    )


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings), base_url=HOST) as opened:
        yield opened


@pytest.fixture
def working(settings: Settings) -> Iterator[Worker]:
    environment = {
        "DATABASE_URL": settings.database_url.get_secret_value() if settings.database_url else "",
        "UNMOVED_DATA_DIR": str(settings.data_dir),
        "UNMOVED_EMBEDDER": settings.embedder,
    }
    with worker(environment) as started:
        yield started


def ended(client: TestClient, asked: httpx2.Response) -> dict[str, Any]:
    """Wait until the job that a request asked for has ended, and get it."""
    assert asked.status_code == 202, asked.text
    address = asked.headers["location"]
    deadline = time.monotonic() + PATIENCE_S
    while (job := client.get(address).json())["status"] in ("waiting", "running"):
        assert time.monotonic() < deadline, job
        time.sleep(0.1)
    found: dict[str, Any] = job
    return found


def sources(settings: Settings) -> dict[str, str]:
    assert settings.database_url is not None
    with connect(settings.database_url.get_secret_value()) as connection:
        rows = connection.execute("SELECT uri, state FROM sources").fetchall()
    return {Path(row["uri"]).name: row["state"] for row in rows}


def kept(settings: Settings) -> list[str]:
    """Name the files that are kept, whole or not, for any collection."""
    return sorted(path.name for path in settings.data_dir.glob("uploads/*/*"))


def upload(client: TestClient, *files: tuple[str, bytes], to: str = "default") -> httpx2.Response:
    return client.post(FILES.format(to), files=[("files", file) for file in files])


@pytest.mark.usefixtures("working")
def test_uploads_are_ingested_searched_replaced_and_removed(
    client: TestClient, settings: Settings
) -> None:
    asked = upload(
        client, ("one.md", b"# One\n\nThe keeper lights the lamp."), ("two.txt", b"Two.")
    )
    assert asked.json()["worker_alive"]
    job = ended(client, asked)
    assert job["status"] == "succeeded"
    assert job["counts"]["documents"]["added"] == 2
    assert job["progress"] == {
        "sources_found": 2,
        "sources_read": 2,
        "chunks_planned": 2,
        "chunks_written": 2,
    }
    assert client.get(f"/api/v1/runs/{job['run_id']}").json()["status"] == "succeeded"
    found = client.post("/api/v1/search", json={"query": "keeper lamp", "k": 1}).json()
    assert found["hits"][0]["document"]["title"] == "One"

    again = ended(client, upload(client, ("one.md", b"# One\n\nThe keeper sleeps.")))
    assert again["counts"]["documents"]["updated"] == 1
    assert sources(settings) == {"one.md": "indexed", "two.txt": "indexed"}

    source = str(next(settings.data_dir.glob("uploads/*/one.md")))
    body = {"sources": [source]}
    removed = ended(client, client.post("/api/v1/collections/default/remove", json=body))
    assert removed["counts"]["documents"]["removed"] == 1
    assert sources(settings) == {"two.txt": "indexed"}
    assert kept(settings) == ["two.txt"]

    gone = ended(client, client.delete("/api/v1/collections/default"))
    assert gone["status"] == "succeeded"
    assert client.get("/api/v1/collections").json() == {"collections": []}
    assert sources(settings) == {}
    assert kept(settings) == []


@pytest.mark.usefixtures("working")
def test_one_bad_file_is_told_and_retried(client: TestClient, settings: Settings) -> None:
    job = ended(client, upload(client, ("bad.pdf", b"%PDF-1.7 no"), ("good.md", b"# Good\n\nYes.")))
    assert (job["status"], job["failures"]) == ("succeeded", 1)
    assert client.get(f"/api/v1/runs/{job['run_id']}").json()["status"] == "partial"
    assert sources(settings) == {"bad.pdf": "failed", "good.md": "indexed"}
    next(settings.data_dir.glob("uploads/*/bad.pdf")).write_bytes(b"%PDF-1.7 still no")
    again = ended(client, client.post("/api/v1/collections/default/retry", headers=JSON))
    assert again["status"] == "failed"
    assert "bad.pdf" in again["reason"]
    run = client.get(f"/api/v1/runs/{again['run_id']}").json()
    assert (run["kind"], run["status"], run["errors"]) == ("retry", "failed", 1)


@pytest.mark.usefixtures("working")
def test_many_files_in_one_request(client: TestClient, settings: Settings) -> None:
    files = [(f"{number:03}.md", f"# {number}\n\nText {number}.".encode()) for number in range(150)]
    job = ended(client, upload(client, *files, to="many files"))
    assert job["counts"]["documents"]["added"] == 150
    assert len(kept(settings)) == 150


@pytest.mark.usefixtures("working")
def test_nothing_of_a_collection_is_left_where_nothing_could_be_read(
    client: TestClient, settings: Settings
) -> None:
    job = ended(client, upload(client, ("bad.pdf", b"%PDF-1.7 no")))
    assert job["status"] == "failed"
    assert job["reason"].startswith("nothing could be read: ")
    assert client.get("/api/v1/collections").json() == {"collections": []}
    assert kept(settings) == []
    assert client.get(f"/api/v1/runs/{job['run_id']}").json()["collection"] == "default"


def test_without_a_worker_the_answer_says_so(client: TestClient) -> None:
    asked = upload(client, ("one.md", b"One."))
    assert asked.status_code == 202
    assert not asked.json()["worker_alive"]
    assert asked.json()["status"] == "waiting"
    listed = client.get("/api/v1/jobs", params={"collection": "default"}).json()
    assert not listed["worker_alive"]
    assert [job["id"] for job in listed["jobs"]] == [asked.json()["id"]]
    cancelled = client.post(f"/api/v1/jobs/{asked.json()['id']}/cancel", headers=JSON).json()
    assert cancelled["status"] == "cancelled"
    again = client.post(f"/api/v1/jobs/{asked.json()['id']}/cancel", headers=JSON)
    assert (again.status_code, again.json()["type"]) == (400, "/docs#invalid-input")


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("../../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("/etc/shadow", "shadow"),
        (".bashrc", "bashrc"),
        ("a\x1b[31mb\u202egpj.md", "a[31mbgpj.md"),
        ("日本語の資料.md", "日本語の資料.md"),
        ("x" * 400 + ".md", "x" * 252 + ".md"),
    ],
)
def test_hostile_names_become_harmless(
    client: TestClient, settings: Settings, sent: str, stored: str
) -> None:
    # Built by hand, since clients quote what is hostile.
    head = f'--b\r\nContent-Disposition: form-data; name="files"; filename="{sent}"\r\n\r\n'
    response = client.post(
        FILES.format("default"),
        content=head.encode() + b"text\r\n--b--\r\n",
        headers={"content-type": "multipart/form-data; boundary=b"},
    )
    assert response.status_code == 202, response.text
    assert kept(settings) == [stored]
    assert {path.name for path in settings.data_dir.iterdir()} == {"secret_key", "uploads"}


def test_a_file_too_large_is_refused_and_nothing_of_the_request_kept(
    client: TestClient, settings: Settings
) -> None:
    response = upload(client, ("small.md", b"small"), ("large.md", b"x" * 2_000_001))
    assert (response.status_code, response.json()["type"]) == (413, "/docs#too-large")
    assert "large.md has more than 2 MB" in response.json()["detail"]
    assert kept(settings) == []
    fits = upload(client, ("large.md", b"x" * 2_000_000))
    assert fits.status_code == 202
    assert len(fits.request.content) > LARGEST_BODY


def test_other_addresses_keep_the_small_limit(client: TestClient) -> None:
    for path in ("/api/v1/collections/a/ingest", "/api/v1/collections/a/documents/b"):
        response = client.post(path, content=b"x" * (LARGEST_BODY + 1), headers=JSON)
        assert response.status_code == 413, path


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"--b--\r\n", "no file"),
        (b"", "ends before"),
        (b"nothing of the kind", "broken"),
        (
            b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.md"\r\n\r\ncut',
            "ends before",
        ),
        (b'--b\r\nContent-Disposition: form-data; name="force"\r\n\r\n1\r\n--b--\r\n', "'force'"),
        (
            b'--b\r\nContent-Disposition: form-data; name="f"; filename=".."\r\n\r\n1\r\n--b--\r\n',
            "no file name",
        ),
        (b"--b\r\nX: " + b"y" * 9_000 + b"\r\n\r\n1\r\n--b--\r\n", "header"),
    ],
)
def test_broken_uploads_are_explained_and_leave_nothing(
    client: TestClient, settings: Settings, body: bytes, said: str
) -> None:
    response = client.post(
        FILES.format("default"),
        content=body,
        headers={"content-type": "multipart/form-data; boundary=b"},
    )
    assert response.status_code == 400, response.text
    assert said in response.json()["detail"]
    assert kept(settings) == []


def test_two_files_of_one_name_in_one_request_are_refused(
    client: TestClient, settings: Settings
) -> None:
    response = upload(client, ("a/read.md", b"one"), ("b/read.md", b"two"))
    assert response.status_code == 400
    assert "two files are named 'read.md'" in response.json()["detail"]
    assert kept(settings) == []


def test_an_upload_of_something_else_than_files_is_refused(client: TestClient) -> None:
    for kind in ("application/json", "application/x-www-form-urlencoded", "multipart/form-data"):
        response = client.post(
            FILES.format("default"), content=b"{}", headers={"content-type": kind}
        )
        assert (response.status_code, response.json()["type"]) == (415, "/docs#not-files")


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:81"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_foreign_page_can_neither_upload_nor_change_anything(
    client: TestClient, settings: Settings, headers: dict[str, str]
) -> None:
    files = [("files", ("a.md", b"a"))]
    assert client.post(FILES.format("x"), files=files, headers=headers).status_code == 403
    for path in ("ingest", "remove", "retry"):
        refused = client.post(f"/api/v1/collections/x/{path}", headers=JSON | headers, content="{}")
        assert refused.status_code == 403
    assert client.delete("/api/v1/collections/x", headers=headers).status_code == 403
    assert client.get("/api/v1/jobs").json()["jobs"] == []
    assert kept(settings) == []


def test_a_form_cannot_post_where_json_is_wanted(client: TestClient) -> None:
    for path in ("collections/x/ingest", "collections/x/remove", "collections/x/retry"):
        response = client.post(
            f"/api/v1/{path}", content=b"{}", headers={"content-type": "text/plain"}
        )
        assert response.status_code == 415


@pytest.mark.usefixtures("working")
def test_only_what_may_be_read_is_ingested(
    client: TestClient, settings: Settings, tmp_path: Path
) -> None:
    allowed, secret = tmp_path / "allowed", tmp_path / "secret"
    secret.mkdir()
    (secret / "key.md").write_text("# Key\n\nNobody may know.")
    (allowed / "open.md").write_text("# Open\n\nEverybody may know.")
    (allowed / "link").symlink_to(secret)
    (allowed / "key.md").symlink_to(secret / "key.md")

    def ingest(*arguments: str) -> httpx2.Response:
        body = {"arguments": arguments}
        return client.post("/api/v1/collections/default/ingest", json=body)

    for path in (
        secret,
        secret / "key.md",
        tmp_path,
        allowed / ".." / "secret",
        allowed / "*" / ".." / ".." / "secret" / "*.md",
        allowed / "link",
        allowed / "link" / "*.md",
        allowed / "key.md",
        str(allowed) + "-not",
        secret / "*.md",
        Path("/etc/passwd"),
        settings.data_dir,
    ):
        refused = ingest(str(path))
        assert (refused.status_code, refused.json()["type"]) == (403, "/docs#out-of-reach"), path
        assert str(allowed) in refused.json()["detail"]
    assert ingest("relative.md").status_code == 403
    assert client.get("/api/v1/jobs").json()["jobs"] == []

    job = ended(client, ingest(str(allowed / "open.md")))
    assert job["counts"]["documents"]["added"] == 1
    known = ended(client, ingest(str(allowed / "*.md"), str(allowed / "open.md")))
    assert known["counts"]["documents"]["unchanged"] >= 1


@pytest.mark.usefixtures("working")
def test_sources_that_are_there_already_may_be_read_again(
    client: TestClient, settings: Settings
) -> None:
    ended(client, upload(client, ("one.md", b"# One\n\nText.")))
    source = str(next(settings.data_dir.glob("uploads/*/one.md")))
    body = {"arguments": [source], "force": True}
    assert client.post("/api/v1/collections/other/ingest", json=body).status_code == 403
    job = ended(client, client.post("/api/v1/collections/default/ingest", json=body))
    assert job["force"]
    # Read again, cut again, and nothing to embed again: the texts are the same.
    assert job["counts"]["chunks"]["embedded"] == 0
    documents = job["counts"]["documents"]
    assert {name: number for name, number in documents.items() if number} == {"unchanged": 1}


def test_what_is_not_there_is_said_to_be_so(client: TestClient) -> None:
    for response in (
        client.delete("/api/v1/collections/none"),
        client.post("/api/v1/collections/none/retry", headers=JSON),
        client.post("/api/v1/collections/none/remove", json={"sources": ["/a"]}),
        client.get("/api/v1/jobs/999"),
        client.get(f"/api/v1/jobs/{2**80}"),
        client.post("/api/v1/jobs/999/cancel", headers=JSON),
    ):
        assert response.status_code == 404, response.request.url
        assert response.headers["content-type"] == "application/problem+json"
    assert client.get("/api/v1/jobs/one").status_code == 422


def test_a_collection_on_its_way_out_takes_nothing_in(client: TestClient, working: Worker) -> None:
    ended(client, upload(client, ("one.md", b"# One\n\nText.")))
    assert working.stop() == 0
    asked = client.delete("/api/v1/collections/default")
    assert client.delete("/api/v1/collections/default").json()["id"] == asked.json()["id"]
    refused = client.post("/api/v1/collections/default/retry", headers=JSON)
    assert (refused.status_code, refused.json()["type"]) == (404, "/docs#not-found")
    assert "being deleted" in refused.json()["detail"]
