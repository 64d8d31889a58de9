"""``ingest checks`` and the file of a report, by the commands alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

BIN = Path(sys.executable).parent

pytestmark = pytest.mark.slow


@pytest.fixture
def environment(database_url: str, tmp_path: Path) -> dict[str, str]:
    return {
        "DATABASE_URL": database_url,
        "UNMOVED_DATA_DIR": str(tmp_path / "data"),
        "UNMOVED_EMBEDDER": "hashing:64",
        "COLUMNS": "200",
        "NO_COLOR": "1",
    }


def test_checks_are_listed_shown_again_and_written(
    environment: dict[str, str], tmp_path: Path
) -> None:
    def ingest(*words: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [BIN / "ingest", *words],
            env={**os.environ, **environment},
            check=False,
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout, done.stderr

    for number in range(5):
        (tmp_path / f"{number}.md").write_text(f"# Lamp {number}\n\nThe keeper of lamp {number}.")
    assert ingest("add", *(str(tmp_path / f"{number}.md") for number in range(5)))[0] == 0
    assert "no checks yet" in ingest("checks")[1]
    # Said before anything is checked.
    for wrong in ("/nowhere/at/all.html", str(tmp_path)):
        code, _, errors = ingest("check", "--html", wrong)
        assert (code, errors.count("\n")) == (4, 1)
        assert wrong in errors
    assert "no checks yet" in ingest("checks")[1]

    file = tmp_path / "first.html"
    code, output, _ = ingest("check", "--html", str(file), "--language", "ja")
    assert code == 3, "there was nothing to compare with"
    soup = BeautifulSoup(file.read_text(encoding="utf-8"), "html.parser")
    assert soup.html is not None
    assert soup.html["lang"] == "ja"
    assert ingest("check")[0] == 0
    (second, first) = json.loads(ingest("checks", "--json")[1])
    assert (first["verdict"], second["verdict"]) == ("inconclusive", "stable")
    assert first["id"] in output
    listed = ingest("checks", "--collection", "default", "--limit", "1")[1]
    assert second["id"][:8] in listed
    assert first["id"][:8] not in listed

    shown = ingest("checks", first["id"][:13])[1]
    assert shown.startswith("INCONCLUSIVE")
    assert first["id"] in shown
    report = json.loads(ingest("checks", second["id"], "--json")[1])
    assert (report["check_id"], report["verdict"]) == (second["id"], "stable")
    again = tmp_path / "again.html"
    assert ingest("checks", second["id"], "--html", str(again))[0] == 0
    assert second["id"] in again.read_text(encoding="utf-8")
    assert "<script" not in again.read_text(encoding="utf-8")

    for words, told in (
        (["checks", "zzz"], "no check 'zzz'"),
        (["checks", "--html", str(again)], "needs the check"),
        (["checks", second["id"], "--html", str(again), "--language", "xx"], "en or ja"),
        (["checks", "--collection", "nowhere"], "no collection 'nowhere'"),
    ):
        code, output, errors = ingest(*words)
        assert (code, output, errors.count("\n")) == (2, "", 1), words
        assert told in errors


def test_a_file_that_cannot_be_written_costs_no_check(
    environment: dict[str, str], tmp_path: Path
) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    (tmp_path / "a.md").write_text("# Lamp\n\nThe keeper lights the lamp.")
    environment = {**os.environ, **environment}
    subprocess.run([BIN / "ingest", "add", tmp_path / "a.md"], env=environment, check=True)
    done = subprocess.run(
        [BIN / "ingest", "check", "--html", full],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3, "what the check came to"
    assert "could not be written" in done.stderr
    assert done.stderr.count("\n") == 1
    listed = subprocess.run(
        [BIN / "ingest", "checks", "--json"], env=environment, check=True, capture_output=True
    )
    assert json.loads(listed.stdout)[0]["id"] in done.stdout
