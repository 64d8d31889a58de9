"""The manual cannot go stale: commands, options and settings are in it, and nothing else is."""

import re
from pathlib import Path

import pytest
import typer.main

import ingest.cli
from search_app.cli import app as search_app
from search_app.config import describe_settings, load_settings

DOCS = Path(__file__).parent.parent / "docs"
APPS = {"ingest": ingest.cli.app, "search-app": search_app}


def commands() -> dict[str, typer.core.TyperCommand]:
    found = {}
    for program, app in APPS.items():
        group = typer.main.get_command(app)
        for name, command in group.commands.items():  # type: ignore[attr-defined] # an app with several commands is a group
            found[f"{program} {name}"] = command
    return found


def text(language: str) -> str:
    return "\n".join(
        page.read_text(encoding="utf-8") for page in sorted((DOCS / language).iterdir())
    )


@pytest.mark.parametrize("command", sorted(commands()))
def test_every_command_is_explained_and_documented(command: str) -> None:
    assert f"`{command}" in (DOCS / "en" / "commands.md").read_text(encoding="utf-8")
    found = commands()[command]
    assert found.help
    for parameter in found.params:
        assert getattr(parameter, "help", None), f"{command} {parameter.name}"


def test_documented_commands_exist() -> None:
    named = re.findall(r"^\| `((?:ingest|search-app) [a-z]+)", text("en"), flags=re.MULTILINE)
    assert named
    assert set(named) <= commands().keys()


def test_every_option_in_the_manual_exists() -> None:
    known = {option for command in commands().values() for p in command.params for option in p.opts}
    for language in ("en", "ja"):
        used = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text(language)))
        assert used - known - {"--help"} == set()


def test_every_setting_is_documented_and_no_other() -> None:
    manual = (DOCS / "en" / "configuration.md").read_text(encoding="utf-8")
    known = {row.variable for row in describe_settings(load_settings())}
    assert {name for name in known if f"`{name}`" not in manual} == set()
    for language in ("en", "ja"):
        assert set(re.findall(r"\bUNMOVED_[A-Z_]+\b", text(language))) <= known


def test_every_link_leads_somewhere() -> None:
    for page in (DOCS.parent / "README.md", *DOCS.rglob("*.md")):
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_every_japanese_page_has_an_english_one() -> None:
    japanese = {page.name for page in (DOCS / "ja").iterdir()}
    assert japanese
    assert japanese <= {page.name for page in (DOCS / "en").iterdir()}
