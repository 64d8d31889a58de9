"""One run whole, and two beside each other: command, API and page tell the same."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient
from typer.testing import CliRunner

from ingest.cli import app
from ingest.pipeline import IngestRequest, ingest, remove
from search_app.bootstrap import Services
from search_app.catalog import runs
from search_app.catalog.engine import transaction
from search_app.config import Settings
from search_app.errors import NotFoundError
from search_app.run_differences import RunDifferences, compare_runs, differing, flattened
from search_app.types import Run
from search_app.web.app import create_app


async def run_of(services: Services, run_id: Any) -> Run:
    async with transaction(services.engine) as connection:
        return await runs.get(connection, run_id)


async def compared(services: Services, one: Run, other: Run, **page: int) -> RunDifferences:
    async with transaction(services.engine) as connection:
        return await compare_runs(connection, one, other, **page)


def write(folder: Path, **texts: str) -> None:
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.md").write_text(f"# {name}\n\n{text}", encoding="utf-8")


async def add(services: Services, folder: Path, **options: Any) -> Run:
    report = await ingest(services, IngestRequest(arguments=[str(folder)], **options))
    return await run_of(services, report.run_id)


@pytest.fixture
async def history(services: Services, tmp_path: Path) -> tuple[Run, Run]:
    """Ingest; then change one document, add one, remove one, add and remove another."""
    folder = tmp_path / "docs"
    write(folder, kept="This stays.", edited="This was.", gone="This leaves.")
    first = await add(services, folder)
    write(folder, passing="Here for a moment.")
    await add(services, folder)
    await remove(services, sources=[str(folder / "passing.md")], collection="default")
    (folder / "passing.md").unlink()
    write(folder, edited="This is.\n\n## More\n\n" + "And more of it. " * 200, new="This came.")
    (folder / "gone.md").unlink()
    second = await add(services, folder, prune=True, force=True)
    return first, second


async def test_what_changed_between_two_runs_is_told(
    services: Services, history: tuple[Run, Run]
) -> None:
    first, second = history
    found = await compared(services, first, second)
    assert found.documents is not None
    assert found.totals is not None
    changes = {Path(each.uri).stem: each.change for each in found.documents}
    assert changes == {"edited": "updated", "new": "added", "gone": "removed"}
    assert found.totals.documents == {"updated": 1, "added": 1, "removed": 1}
    grown = next(each.chunks for each in found.documents if each.change == "updated")
    assert grown > 1
    assert (found.totals.chunks_then, found.totals.chunks_now) == (2, grown + 1)
    assert {each.name: (each.first, each.second) for each in found.configuration} == {
        "prune": ("false", "true"),
        "force": ("false", "true"),
    }
    assert found.versions == []
    assert found.vectors is not None
    assert found.vectors.same_index
    assert found.vectors.made_by_first == 1  # of what stayed
    assert found.vectors.made_by_second + found.vectors.copied_by_second == grown + 1
    assert found.vectors.others == 0
    back = await compared(services, second, first)
    assert back == found


async def test_pages_of_changes_are_one_list(services: Services, history: tuple[Run, Run]) -> None:
    first, second = history
    whole = await compared(services, first, second)
    pages = [await compared(services, first, second, limit=1, offset=n) for n in range(4)]
    assert [each for page in pages for each in page.documents or ()] == whole.documents
    assert {page.totals.documents["added"] for page in pages if page.totals} == {1}


async def test_runs_of_two_collections_share_no_documents(
    services: Services, tmp_path: Path
) -> None:
    write(tmp_path / "docs", one="A text.")
    first = await add(services, tmp_path / "docs")
    second = await add(services, tmp_path / "docs", collection="other")
    found = await compared(services, first, second)
    assert found.documents is None
    assert found.totals is None
    assert found.vectors is not None
    assert not found.vectors.same_index
    assert (found.vectors.equal, found.vectors.only_first, found.vectors.only_second) == (0, 1, 1)
    assert "index" in {each.name for each in found.versions}


async def test_a_run_beside_itself_tells_what_it_did(services: Services, tmp_path: Path) -> None:
    write(tmp_path / "docs", one="A text.", two="Another.")
    run = await add(services, tmp_path / "docs")
    found = await compared(services, run, run)
    assert found.totals is not None
    assert found.totals.documents == {"added": 2}
    assert (found.configuration, found.versions) == ([], [])


@given(
    first=st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=5),
    second=st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=5),
)
def test_differences_lead_from_one_to_the_other(
    first: Mapping[str, str], second: Mapping[str, str]
) -> None:
    made = dict(first)
    for each in differing(first, second):
        assert each.first == first.get(each.name)
        assert each.first != each.second
        if each.second is None:
            del made[each.name]
        else:
            made[each.name] = each.second
    assert made == second


def test_settings_inside_others_are_named_by_their_path() -> None:
    given_settings = {"b": {"c": 1, "d": None, "e": {"f": ["x", "図"]}}, "a": "t", "g": ""}
    assert list(flattened(given_settings)) == [("a", "t"), ("b.c", "1"), ("b.e.f", '["x", "図"]')]


async def test_api_and_pages_tell_it(
    services: Services, settings: Settings, history: tuple[Run, Run]
) -> None:
    first, second = history
    with TestClient(create_app(settings, services), base_url="http://127.0.0.1") as client:
        address = f"/api/v1/runs/diff?a={first.id}&b={second.id}"
        told = client.get(address).json()
        assert told["totals"]["documents"] == {"updated": 1, "added": 1, "removed": 1}
        assert told["first"]["id"] == str(first.id)
        assert not told["more"]
        paged = client.get(f"{address}&limit=2").json()
        assert (len(paged["documents"]), paged["more"]) == (2, True)
        assert client.get(f"/api/v1/runs/diff?a={first.id}").status_code == 422
        assert client.get(f"/api/v1/runs/diff?a={first.id}&b={uuid4()}").status_code == 404
        page = client.get(f"/runs/diff?a={first.id}&b={second.id}")
        assert page.status_code == 200
        for said in ("edited.md", "gone.md", "new.md", "prune", str(second.id)[:8]):
            assert said in page.text
        assert "passing.md" not in page.text
        japanese = client.get(
            f"/runs/diff?a={first.id}&b={second.id}", headers={"Accept-Language": "ja"}
        )
        assert "二つの実行の間の変化" in japanese.text
        shown = client.get(f"/runs/{second.id}")
        assert "/runs/diff?a=" in shown.text
        assert "/models/" in shown.text
        assert "/runs/diff?a=" not in client.get(f"/runs/{first.id}").text
        assert client.get("/runs/diff").status_code == 404
        assert client.get("/runs/diff?a=x&b=y").status_code == 404


def test_the_commands_list_show_and_compare(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings.database_url is not None
    monkeypatch.setenv("DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("UNMOVED_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("UNMOVED_EMBEDDER", settings.embedder)
    write(tmp_path / "docs", one="A text.", two="Another.")
    for number in range(3):
        (tmp_path / "docs" / f"broken-{number}.pdf").write_bytes(b"%PDF-1.4 nothing")
    runner = CliRunner()
    first = json.loads(runner.invoke(app, ["add", str(tmp_path / "docs"), "--json"]).stdout)
    write(tmp_path / "docs", three="A third.")
    runner.invoke(app, ["add", str(tmp_path / "docs"), "--json"])
    listed = json.loads(runner.invoke(app, ["runs", "--json"]).stdout)
    assert len(listed) == 2
    assert json.loads(runner.invoke(app, ["runs", "list", "--json"]).stdout) == listed
    assert runner.invoke(app, ["runs", "--limit", "1"]).stdout.count("ingest") == 1
    words = ["runs", "show", first["run_id"][:8]]
    shown = json.loads(runner.invoke(app, [*words, "--json", "--limit", "2"]).stdout)
    assert shown["errors"] == 3
    assert len(shown["failures"]) == 2
    assert shown["model_version"]["spec"] == "hashing:64"
    rest = json.loads(runner.invoke(app, [*words, "--json", "--offset", "2"]).stdout)
    assert len(rest["failures"]) == 1
    text = runner.invoke(app, [*words, "--limit", "2"]).stdout
    assert "2 of 3 failures" in text
    assert "library numpy" in text
    ids = [listed[1]["id"], listed[0]["id"][:8]]
    compared_json = json.loads(runner.invoke(app, ["runs", "diff", *ids, "--json"]).stdout)
    assert compared_json["totals"]["documents"] == {"added": 1}
    plain = runner.invoke(app, ["runs", "diff", *ids])
    assert plain.exit_code == 0
    assert "three.md" in plain.stdout
    assert isinstance(runner.invoke(app, ["runs", "show", "zz"]).exception, NotFoundError)
