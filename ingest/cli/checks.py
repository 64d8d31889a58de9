"""``ingest checks``: earlier checks, and one of them again, as text, JSON or a file to mail."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.cli.app import app
from ingest.cli.tables import AsJson, Offset, print_table, short, when
from search_app.config import Settings, load_settings
from search_app.console import print_json, printable, wait_for
from search_app.errors import InvalidInputError
from search_app.translation import DEFAULT, LANGUAGES
from search_app.types import JSON

if TYPE_CHECKING:
    from search_app.catalog.checks import Check
    from search_app.catalog.nights import Night

SHOWN_IDS = 5
SHOWN_QUERIES = 3

HtmlFile = Annotated[
    Path | None,
    typer.Option(
        "--html", metavar="FILE", help="Write the report to a file of its own that can be mailed."
    ),
]
Language = Annotated[str, typer.Option(help=f"The language of that file: {', '.join(LANGUAGES)}.")]


@app.command()
def checks(
    check: Annotated[
        str, typer.Argument(metavar="[CHECK_ID]", help="A check, by its id or the beginning of it.")
    ] = "",
    collection: Annotated[str | None, typer.Option(help="Only checks of this collection.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most checks listed.")] = 20,
    offset: Offset = 0,
    html: HtmlFile = None,
    language: Language = DEFAULT,
    *,
    as_json: AsJson = False,
) -> None:
    """List checks, newest first; or show one again, in full with --json or --html."""
    settings = load_settings()
    if not check:
        if html is not None:
            raise InvalidInputError("--html needs the check to write; ingest checks lists them")
        _list(settings, collection, limit, offset, as_json=as_json)
        return
    if html is not None:
        save_html(settings, check, html, language)
    if as_json:
        print_json(dict(wait_for(_found(settings, check), settings).report))
    elif html is None:
        _print(wait_for(_found(settings, check), settings))


def save_html(settings: Settings, beginning: str, file: Path, language: str) -> None:
    """Write the report of a check to a file, with the checks of its index before it.

    Raises:
        InvalidInputError: the file cannot be written, or there is no such language.
        NotFoundError: there is no such check.
    """
    check_html(file, language)
    text = wait_for(_html(settings, beginning, language), settings)
    try:
        # What users named may hold half a surrogate pair, which no file can.
        file.write_text(text, encoding="utf-8", errors="replace")
    except OSError as exc:
        raise InvalidInputError(
            f"the report could not be written to {str(file)!r}: {exc.strerror}; the check is kept: "
            f"ingest checks {beginning[:8]} --html FILE"
        ) from exc
    typer.echo(f"report written to {file}", err=True)


def check_html(file: Path, language: str) -> None:
    """Say early where a report cannot be written.

    Raises:
        InvalidInputError: its folder is none, the file is a folder, or the language is not known.
    """
    if language not in LANGUAGES:
        raise InvalidInputError(
            f"--language {language[:20]!r}: reports are written in {' or '.join(LANGUAGES)}"
        )
    if not file.parent.is_dir():
        raise InvalidInputError(f"--html {str(file)!r}: there is no folder {str(file.parent)!r}")
    if file.is_dir():
        raise InvalidInputError(f"--html {str(file)!r} is a folder; name a file in it")


async def _html(settings: Settings, beginning: str, language: str) -> str:
    from search_app.bootstrap import open_services
    from search_app.reports.file import as_html
    from search_app.reports.loading import load

    async with open_services(settings, create=False) as services:
        kept = await load(services.engine, beginning)
    return as_html(kept.check.report, kept.nights, language)


async def _found(settings: Settings, beginning: str) -> "Check":
    from search_app.bootstrap import open_services
    from search_app.catalog import checks
    from search_app.catalog.engine import reading

    async with (
        open_services(settings, create=False) as services,
        reading(services.engine) as connection,
    ):
        return await checks.find(connection, beginning)


async def _listed(
    settings: Settings, collection: str | None, limit: int, offset: int
) -> "Sequence[Night]":
    from search_app.bootstrap import open_services
    from search_app.catalog import collections, nights
    from search_app.catalog.engine import reading

    async with (
        open_services(settings, create=False) as services,
        reading(services.engine) as connection,
    ):
        if collection is not None:
            await collections.get(connection, collection)
        return await nights.listing(connection, collection=collection, limit=limit, offset=offset)


def _list(
    settings: Settings, collection: str | None, limit: int, offset: int, *, as_json: bool
) -> None:
    found = wait_for(_listed(settings, collection, limit, offset), settings)
    if as_json:
        print_json([asdict(night) for night in found])
        return
    print_table(
        ["check", "collection", "index", "when", "verdict", "changed", "unsteady", "accepted"],
        [_row(night) for night in found],
        empty="no checks yet; try: ingest check",
    )


def _row(night: "Night") -> list[str]:
    return [
        short(night.id),
        night.collection,
        short(night.index_id),
        when(night.at),
        night.verdict,
        f"{night.changed} of {night.sampled}",
        f"{night.unsteady} of {night.repeated}",
        "-" if night.accepted_at is None else when(night.accepted_at),
    ]


def _print(check: "Check") -> None:
    report = check.report
    layers = report["layers"]
    _say(f"{check.verdict.upper()}  {report['sentence']}")
    for finding in report["findings"][1:]:
        _say(f"  also: {finding['sentence']}")
    for cause in report["causes"]:
        sure = "confirmed" if cause["confirmed"] else "likely"
        _say(f"cause  {cause['name']} ({sure}): {cause['evidence']}")
        _say(f"  do:  {cause['remedy']}")
    if layers["integrity"]:
        _print_integrity(layers["integrity"])
    if layers["canaries"]:
        seen = layers["canaries"]
        _say(f"model      {seen['outcome']}; lowest cosine {seen['lowest_cosine']:.8f}")
    if layers["queries"]:
        _print_queries(layers["queries"], report)
    if layers["documents"]:
        passages = layers["documents"]
        _say(f"passages   {len(passages['moved'])} of {passages['sampled']} moved")
    if again := report.get("answers"):
        _say(
            f"answers    {len(again['moved'])} of {again['asked']} logged questions would now "
            "have to cite other passages"
        )
    for reason in report["not_checked"]:
        _say(f"note: {reason}")
    if check.accepted_at is not None:
        _say(f"accepted as the baseline {when(check.accepted_at)}")
    _say(
        f"check {check.id} of {check.collection}, {when(check.created_at)} · "
        f"{report['texts_sent']:,} texts sent · seed {report['seed']} · {report['seconds']:.1f} s"
    )


def _print_integrity(found: Mapping[str, JSON]) -> None:
    _say(f"stored     {found['scanned']:,} vectors read, faults: {len(found['faults'])} kinds")
    for fault in found["faults"]:
        ids, number = fault["ids"], len(fault["ids"])
        more = f" and {number - SHOWN_IDS:,} more" if number > SHOWN_IDS else ""
        _say(f"  {fault['kind']}: {fault['detail']}: {', '.join(ids[:SHOWN_IDS])}{more}")


def _print_queries(queries: Mapping[str, JSON], report: Mapping[str, JSON]) -> None:
    _say(
        f"queries    {queries['changed']} of {queries['sampled']} changed "
        f"(at most {report['drift']['high']:.1%}); {queries['unsteady']} of "
        f"{queries['repeated']} differ when repeated "
        f"(at most {report['reproducibility']['high']:.1%}); {queries['near_ties']} near-ties"
    )
    for query in queries["worst"][:SHOWN_QUERIES]:
        lost = _only(query["before"], query["after"])
        found = _only(query["after"], query["before"])
        _say(f"  {query['text']!r}: lost {lost}; found {found} instead")


def _only(ones: Sequence[JSON], others: Sequence[JSON]) -> str:
    known = {each["chunk_id"] for each in others}
    return ", ".join(each["title"] for each in ones if each["chunk_id"] not in known)


def _say(line: str) -> None:
    typer.echo(printable(line))
