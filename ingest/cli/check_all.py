"""``ingest check --all``: every collection, one after the other."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from search_app.config import Settings
from search_app.console import fail, print_json, printable, wait_for
from search_app.errors import CheckUnderWayError, ConfigurationError
from search_app.types import JSON

if TYPE_CHECKING:
    from ingest.nightly import CheckedCollection
    from search_app.consistency.types import CheckReport

UNREACHABLE, USAGE = 3, 4

GRAVEST_FIRST = (2, UNREACHABLE, USAGE, 1, 0)
"""Exit codes: of several collections, the gravest counts."""


def check_everything(
    settings: Settings,
    options: Mapping[str, Any],
    show: "Callable[[CheckReport], None]",
    *,
    as_json: bool,
) -> NoReturn:
    """Check every collection, show what each check came to, and leave with the exit code."""
    from search_app.consistency.keeping import as_json as in_json

    found: list[CheckedCollection] = []

    def take(one: "CheckedCollection") -> None:
        found.append(one)
        if one.problem is not None:
            fail(f"collection {one.collection!r} could not be checked: {one.problem}")
        elif one.report is not None and not as_json:
            typer.echo(printable(f"== {one.collection}"))
            show(one.report)

    wait_for(_run(settings, options, take), settings, spans=True)
    if as_json:
        shown: list[JSON] = [
            {"collection": one.collection, "error": str(one.problem)}
            if one.report is None
            else in_json(one.report)
            for one in found
        ]
        print_json({"checks": shown})
    elif not found:
        typer.echo("there is no collection to check yet")
    raise typer.Exit(min((_code(one) for one in found), key=GRAVEST_FIRST.index, default=0))


def _code(one: "CheckedCollection") -> int:
    if one.report is not None:
        return one.report.verdict.exit_code
    is_usage = isinstance(one.problem, CheckUnderWayError | ConfigurationError)
    return USAGE if is_usage else UNREACHABLE


async def _run(
    settings: Settings, options: Mapping[str, Any], take: "Callable[[CheckedCollection], None]"
) -> None:
    from ingest.nightly import check_all
    from search_app.bootstrap import open_services
    from search_app.consistency.subject import CheckRequest

    async with open_services(settings, create=False) as services:
        async for one in check_all(services, CheckRequest(**options)):
            take(one)
