"""Standard input and lists of addresses, as people and scripts give them."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest.fetching.lists import read_list
from search_app.errors import InvalidInputError, TooLargeError
from search_app.uploads import LONGEST_NAME, Upload, safe_name
from tests.page_server import PageServer, page_server

INGEST = Path(sys.executable).parent / "ingest"
NOTES = "# Notes\n\nThe lighthouse keeper writes the weather into a blue book.\n"

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environment(database_url: str, tmp_path: Path) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("UNMOVED_")},
        "DATABASE_URL": database_url,
        "UNMOVED_DATA_DIR": str(tmp_path / "data"),
        "UNMOVED_EMBEDDER": "hashing:64",
        "UNMOVED_FETCH_PRIVATE": "true",
        "UNMOVED_MAX_FILE_MB": "1",
        "NO_COLOR": "1",
    }


@pytest.fixture
def run(environment: dict[str, str], tmp_path: Path) -> Run:
    def start(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [INGEST, *arguments],
            env=environment,
            cwd=tmp_path,
            input=given,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )

    return start


@pytest.fixture
def pages() -> Iterator[PageServer]:
    with page_server() as server:
        yield server


def kept(folder: Path) -> list[Path]:
    return [path for path in (folder / "data" / "uploads").rglob("*") if path.is_file()]


def documents(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.stdout)["documents"]
    return {name: number for name, number in found.items() if number}


def test_standard_input_is_kept_read_again_and_removed(run: Run, tmp_path: Path) -> None:
    added = run("add", "-", "--name", "notes.md", "--json", given=NOTES)
    assert added.returncode == 0, added.stderr
    assert documents(added) == {"added": 1}
    (path,) = kept(tmp_path)
    assert path.name == "notes.md"
    assert path.read_text(encoding="utf-8") == NOTES
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert documents(run("add", str(path), "--json")) == {"unchanged": 1}
    again = run("add", "-", "--name", "notes.md", "--json", given=NOTES + "\nMore.\n")
    assert documents(again) == {"updated": 1}
    assert kept(tmp_path) == [path]
    removed = run("rm", str(path), "--json")
    assert removed.returncode == 0, removed.stderr
    assert documents(removed) == {"removed": 1}
    assert kept(tmp_path) == []


def test_standard_input_without_a_name_is_plain_text(run: Run, tmp_path: Path) -> None:
    assert run("add", "-", given="Just words.").returncode == 0
    assert [path.name for path in kept(tmp_path)] == ["stdin.txt"]


def test_a_name_cannot_lead_out_of_its_folder(run: Run, tmp_path: Path) -> None:
    assert run("add", "-", "--name", "../../etc/x.md", given=NOTES).returncode == 0
    (path,) = kept(tmp_path)
    assert (path.name, path.parent.parent) == ("x.md", tmp_path / "data" / "uploads")


@pytest.mark.parametrize(
    ("arguments", "given", "reason"),
    [
        (["-", "--name", "photo.png"], "x", "unknown type .png"),
        (["-", "--name", ".."], "x", "is no file name"),
        (["-"], "", "nothing came"),
        (["-"], "x" * 1_000_001, "more than 1 MB"),
        (["-", "--urls", "-"], "x", "at once"),
        (["--name", "x.md", "a.md"], "", "--name is for standard input"),
        (["--urls", "missing.txt"], "", "no such file"),
        (["-", "--embedder", "hashing:nonsense"], "x", "hashing"),
        ([], "", "nothing to ingest"),
    ],
)
def test_what_cannot_be_taken_leaves_nothing_behind(
    run: Run, tmp_path: Path, arguments: list[str], given: str, reason: str
) -> None:
    done = run("add", *arguments, given=given)
    assert done.returncode == 2
    assert reason in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert kept(tmp_path) == []
    assert json.loads(run("status", "--json").stdout) == []


def test_stopping_while_input_comes_leaves_nothing(
    environment: dict[str, str], tmp_path: Path
) -> None:
    process = subprocess.Popen(
        [INGEST, "add", "-"],
        env=environment,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    # More than a pipe holds: once it is through, the command is reading.
    process.stdin.write("x" * 500_000)
    process.stdin.flush()
    assert [path.name.startswith(".upload-") for path in kept(tmp_path)] == [True]
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "stopped\n")
    assert kept(tmp_path) == []


def test_a_list_of_addresses(run: Run, pages: PageServer, tmp_path: Path) -> None:
    body = f"<html><body><p>{'The ferry leaves at seven. ' * 5}</p></body></html>"
    first, second = pages.page("/a", body), pages.page("/b", body)
    (tmp_path / "list.txt").write_text(
        f"\ufeff# Pages\n{first}\n\nexample.com\n  {second}#part  # a comment\n{first}\n",
        encoding="utf-8",
    )
    done = run("add", "--urls", "list.txt", "--json")
    assert done.returncode == 1
    assert documents(done) == {"added": 2, "failed": 1}
    assert json.loads(done.stdout)["errors"] == [
        {
            "source": "list.txt:4",
            "reason": "example.com: only addresses of http:// and https:// are fetched",
        }
    ]
    again = run("add", "--urls", "-", "--json", given=f"{first}\n{second}\n")
    assert (again.returncode, documents(again)) == (0, {"unchanged": 2})
    shown = run("add", "--urls", "-", given=f"{pages.url}/missing\n")
    assert (shown.returncode, shown.stderr) == (2, f"failed  {pages.url}/missing: gone (404)\n")


def test_lines_of_a_list() -> None:
    lines = [b"https://example.com/\xff\n", b"https://u:secret@example.com/\n", b"#x\n", b"\n"]
    found = read_list("list", lines)
    assert found.addresses == []
    assert [failure.source for failure in found.refused] == ["list:1", "list:2"]
    assert "secret" not in str(found.refused)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("notes.md", "notes.md"),
        ("/etc/passwd", "passwd"),
        ("C:\\Users\\me\\レポート.pdf", "レポート.pdf"),
        ("a\x00b\x1b[31m\n.md", "ab[31m.md"),
        ("\u202efdp.exe", "fdp.exe"),
        (".hidden", "hidden"),
        ("カ\u3099.txt", "ガ.txt"),
        ("x" * 300 + ".md", "x" * 252 + ".md"),
        ("あ" * 100 + ".txt", "あ" * 83 + ".txt"),
    ],
)
def test_names_are_made_safe(given: str, name: str) -> None:
    assert safe_name(given) == name
    assert len(name.encode()) <= LONGEST_NAME


@pytest.mark.parametrize("given", ["", " ", ".", "..", "/", "a/..", "\x00", "\ud800"])
def test_what_is_no_name_is_refused(given: str) -> None:
    with pytest.raises(InvalidInputError, match="no file name"):
        safe_name(given)


def test_an_upload_is_seen_only_when_it_is_whole(tmp_path: Path) -> None:
    place = tmp_path / "a.md"
    place.write_text("old")
    with Upload(tmp_path, "a.md", most_bytes=10) as upload:
        upload.write(b"new")
        assert place.read_text() == "old"
        assert upload.finish() == place
    assert place.read_text() == "new"
    with pytest.raises(TooLargeError), Upload(tmp_path, "a.md", most_bytes=10) as upload:
        upload.write(b"eleven byte")
    assert list(tmp_path.iterdir()) == [place]
