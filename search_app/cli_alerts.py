"""``search-app alerts``: who was told of what, and whether telling works."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from search_app.config import Settings, load_settings
from search_app.console import SOME_FAILED, print_json, printable, wait_for
from search_app.errors import ConfigurationError
from search_app.types import JSON

if TYPE_CHECKING:
    from search_app.alerts.telling import Attempt
    from search_app.catalog.alerts import Alert, Standing

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def alerts(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many alerts to show.")] = 10,
    *,
    again: Annotated[
        bool, typer.Option("--again", help="Try at once what was given up or waits, too.")
    ] = False,
    test: Annotated[
        bool, typer.Option("--test", help="Only send a test every way that is set up, now.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Tell what is to be told, and show what was; for cron where no worker runs.

    Exit code: 0 all is well, 1 a collection has not been checked for too long or an alert was not
    delivered, 2 nothing could be done.
    """
    if test:
        _test(as_json=as_json)
        return
    settings = load_settings()
    late, found = wait_for(_tend(settings, limit, again=again), settings)
    undelivered = [way for alert in found for way in alert.deliveries if way.status != "sent"]
    if as_json:
        print_json(
            {
                "overdue": [_standing_json(standing) for standing in late],
                "alerts": [asdict(alert) for alert in found],
            }
        )
    else:
        _print(late, found, settings)
    if late or undelivered:
        raise typer.Exit(SOME_FAILED)


def _test(*, as_json: bool) -> None:
    from search_app.alerts.telling import channels, send_test

    settings = load_settings()
    if not channels(settings):
        raise ConfigurationError(
            "no way for alerts is set up; set UNMOVED_ALERT_WEBHOOK_URL, or UNMOVED_SMTP_HOST, "
            "UNMOVED_ALERT_MAIL_FROM and UNMOVED_ALERT_MAIL_TO"
        )
    attempts = wait_for(send_test(settings), settings)
    if as_json:
        print_json({"deliveries": [_attempt_json(attempt) for attempt in attempts]})
    else:
        for attempt in attempts:
            said = attempt.problem or f"{attempt.channel}: taken"
            typer.echo(printable(f"{said} ({attempt.note})" if attempt.note else said))
    if any(attempt.problem for attempt in attempts):
        raise typer.Exit(SOME_FAILED)


async def _tend(
    settings: Settings, limit: int, *, again: bool
) -> "tuple[list[Standing], list[Alert]]":
    from search_app.alerts import telling
    from search_app.bootstrap import open_services
    from search_app.catalog import alerts as kept
    from search_app.catalog.engine import reading, transaction

    async with open_services(settings, create=False) as services:
        if again:
            async with transaction(services.engine) as connection:
                await kept.try_again(connection)
        await telling.tend(services)
        async with reading(services.engine) as connection:
            found = await kept.listing(connection, limit=limit)
        return await telling.overdue(services), found


def _print(late: "Sequence[Standing]", found: "Sequence[Alert]", settings: Settings) -> None:
    from search_app.alerts import message
    from search_app.alerts.telling import channels

    for standing in late:
        typer.echo(printable(f"NO CHECK  {message.silence(standing)}"))
    for alert in found:
        made = alert.created_at.strftime("%Y-%m-%d %H:%M")
        typer.echo(printable(f"{made}  {message.subject(alert.payload)}"))
        for way in alert.deliveries:
            why = f": {way.reason}" if way.reason else ""
            state = "given up" if way.status == "failed" else way.status
            typer.echo(printable(f"  {way.channel}  {state} after {way.attempts} attempts{why}"))
    if not found:
        typer.echo("nobody was told of anything yet")
    if not channels(settings):
        typer.echo("no way for alerts is set up; see the manual, Being told")


def _standing_json(standing: "Standing") -> JSON:
    return {
        **{name: value for name, value in asdict(standing).items() if name != "age"},
        "age_s": round(standing.age.total_seconds()),
    }


def _attempt_json(attempt: "Attempt") -> JSON:
    return {"channel": attempt.channel, "problem": attempt.problem, "note": attempt.note}
