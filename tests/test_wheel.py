"""Installed as a wheel in another folder, everything is there and works."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
UV = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")


@pytest.mark.slow
def test_the_wheel_stands_alone(database_url: str, tmp_path: Path) -> None:
    assert UV is not None
    subprocess.run(
        [UV, "build", "--quiet", "--wheel", "--out-dir", tmp_path / "dist", ROOT], check=True
    )
    wheel = next((tmp_path / "dist").glob("*.whl"))
    packages = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(packages)
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "docs/"))]
    work = tmp_path / "work"
    work.mkdir()
    (work / "note.md").write_text("# Note\n\nThe wheel rolls.", encoding="utf-8")
    environment = {
        **os.environ,
        # Before the checkout that this environment has installed for development.
        "PYTHONPATH": str(packages),
        "DATABASE_URL": database_url,
        "UNMOVED_DATA_DIR": str(tmp_path / "data"),
        "UNMOVED_EMBEDDER": "hashing:64",
    }

    def python(code: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", code],
            cwd=work,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    assert python("import search_app; print(search_app.__file__)").startswith(str(packages))
    command = "import sys; from {0} import main; sys.argv = {1!r}; main()"
    for arguments in (["search-app", "migrate", "base"], ["search-app", "migrate"]):
        python(command.format("search_app.cli", arguments))
    python(command.format("ingest.cli", ["ingest", "add", "note.md"]))
    found = python(command.format("search_app.cli", ["search-app", "search", "rolls", "--json"]))
    assert "The wheel rolls." in found
    page = python(
        "from starlette.testclient import TestClient\n"
        "from search_app.config import load_settings\n"
        "from search_app.web.app import create_app\n"
        "with TestClient(create_app(load_settings()), base_url='http://localhost') as client:\n"
        "    page = client.get('/?q=rolls').text\n"
        "    import re\n"
        '    for link in re.findall(r\'(?:href|src)="(/static/[^"]+)"\', page):\n'
        "        assert client.get(link).status_code == 200, link\n"
        "    japanese = client.get('/', headers={'accept-language': 'ja'})\n"
        "    assert '検索' in japanese.text\n"
        "    print(page)\n"
    )
    assert "rolls" in page
    assert "/static/" in page
