"""The manual cannot go stale: commands, options and settings are in it, and nothing else is."""

import re
from pathlib import Path

import pytest
import typer.main

import ingest.cli
from benchmarks.faults.__main__ import arguments
from search_app.cli import app as search_app
from search_app.config import describe_settings, load_settings

DOCS = Path(__file__).parent.parent / "docs"
LANGUAGES = ("en", "ja")
APPS = {"ingest": ingest.cli.app, "search-app": search_app}
OF_DOCKER = {"--rm"}
OF_EVERY_PROGRAM = {"--help", "--version", "--install-completion", "--show-completion"}


def commands() -> dict[str, typer.core.TyperCommand]:
    found: dict[str, typer.core.TyperCommand] = {}
    for program, app in APPS.items():
        groups = [(program, typer.main.get_command(app))]
        while groups:
            words, group = groups.pop()
            for name, command in group.commands.items():  # type: ignore[attr-defined] # an app with several commands is a group
                if hasattr(command, "commands"):
                    groups.append((f"{words} {name}", command))
                else:
                    found[f"{words} {name}"] = command
    return found


def text(language: str) -> str:
    return "\n".join(
        page.read_text(encoding="utf-8") for page in sorted((DOCS / language).iterdir())
    )


@pytest.mark.parametrize("command", sorted(commands()))
def test_every_command_is_explained_and_documented(command: str) -> None:
    for language in LANGUAGES:
        assert f"`{command}" in (DOCS / language / "commands.md").read_text(encoding="utf-8")
    found = commands()[command]
    assert found.help
    for parameter in found.params:
        assert getattr(parameter, "help", None), f"{command} {parameter.name}"


def test_documented_commands_exist() -> None:
    for language in LANGUAGES:
        named = re.findall(
            r"^\| `((?:ingest|search-app)(?: [a-z]+)+)", text(language), flags=re.MULTILINE
        )
        assert named
        assert set(named) <= commands().keys()


def test_every_option_in_the_manual_exists() -> None:
    known = {option for command in commands().values() for p in command.params for option in p.opts}
    # The parser has no other way to say what it takes.
    known |= set(arguments()._option_string_actions)
    for language in LANGUAGES:
        used = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text(language)))
        assert used - known - OF_EVERY_PROGRAM - OF_DOCKER == set()


def test_every_setting_is_documented_and_no_other() -> None:
    known = {row.variable for row in describe_settings(load_settings())}
    for language in LANGUAGES:
        manual = (DOCS / language / "configuration.md").read_text(encoding="utf-8")
        assert {name for name in known if f"`{name}`" not in manual} == set()
        assert set(re.findall(r"\bUNMOVED_[A-Z_]+\b", text(language))) <= known


def test_every_link_leads_somewhere() -> None:
    for page in (*DOCS.parent.glob("README*.md"), *DOCS.rglob("*.md")):
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_every_page_is_there_in_every_language() -> None:
    pages = {page.name for language in LANGUAGES for page in (DOCS / language).iterdir()}
    assert len(pages) > 5
    for language in LANGUAGES:
        assert {page.name for page in (DOCS / language).iterdir()} == pages, language


def outline(page: Path) -> list[str]:
    """Give the shape of a page: the levels of its headings, the rows of its tables."""
    shape = []
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            shape.append(line.split(" ")[0])
        elif line.startswith("|"):
            shape.append(f"table row of {line.count(' | ') + 1}")
    return shape


@pytest.mark.parametrize(
    "page", sorted(str(p.relative_to(DOCS / "en")) for p in (DOCS / "en").iterdir())
)
def test_translated_pages_have_the_same_sections_and_tables(page: str) -> None:
    assert outline(DOCS / "ja" / page) == outline(DOCS / "en" / page)


def test_both_readmes_lead_to_each_other_and_to_every_page() -> None:
    for name, other, language in (
        ("README.md", "README.ja.md", "en"),
        ("README.ja.md", "README.md", "ja"),
    ):
        readme = (DOCS.parent / name).read_text(encoding="utf-8")
        assert f"({other})" in readme
        for page in (DOCS / language).iterdir():
            assert f"(docs/{language}/{page.name})" in readme, page
