"""``ingest add --dry-run``: what would be sent, how long it would take, what it would cost."""

from typing import TYPE_CHECKING

import typer

from ingest.cli.tables import amount
from search_app.config import Settings
from search_app.console import print_json, printable

if TYPE_CHECKING:
    from ingest.estimate import Estimate, Passages
    from ingest.pipeline import IngestRequest

_MINUTE, _HOUR = 60, 3600


async def foreseen(settings: Settings, request: "IngestRequest") -> "Estimate":
    """Estimate; where there is no database yet, none is made."""
    from ingest.estimate import estimate
    from search_app.bootstrap import Services, open_services
    from search_app.catalog.embedded_place import has_database
    from search_app.catalog.engine import create_engine

    if settings.database_url is not None or has_database(settings.data_dir):
        async with open_services(settings, create=False) as services:
            return await estimate(services, request)
    # Nobody connects to it.
    engine = create_engine("postgresql://localhost/none")
    services = Services(settings, engine)
    try:
        return await estimate(services, request, has_catalog=False)
    finally:
        await services.aclose()
        await engine.dispose()


def tell_estimate(found: "Estimate", settings: Settings, *, as_json: bool) -> None:
    """Print an estimate."""
    if as_json:
        print_json(found.as_json())
        return
    for failure in found.failures:
        typer.echo(printable(f"failed  {failure.source}: {failure.reason}"), err=True)
    typer.echo(
        f"documents  {found.documents:,} to read in · {found.unchanged:,} unchanged · "
        f"{len(found.failures):,} failed · {found.skipped:,} skipped"
    )
    for each in found.models:
        _tell_model(each, settings)
    if found.pages:
        typer.echo(f"not counted: {amount(found.pages, 'web page')}, which nobody fetched")
    typer.echo("nothing was written, and nothing was sent")


def _tell_model(each: "Passages", settings: Settings) -> None:
    typer.echo(printable(f"model      {each.spec}"))
    typer.echo(
        f"chunks     {each.chunks:,} · {each.texts:,} to embed · {each.reused:,} known already"
    )
    if each.too_long:
        what = "sent in pieces" if settings.too_long == "split" else "refused"
        typer.echo(f"too long   {each.too_long:,} chunks, which would be {what}")
    about = "about " if each.estimated else ""
    counted = "the bundled tokenizer" if each.estimated else "the model's own tokenizer"
    typer.echo(
        f"tokens     {about}{each.tokens:,}, counted by {counted}; {each.proofs:,} of them prove "
        "the model"
    )
    typer.echo(f"requests   {each.requests:,}")
    typer.echo(f"time       {_time(each)}")
    typer.echo(f"cost       {_cost(each)}")


def _time(each: "Passages") -> str:
    if each.seconds is None:
        return "unknown: no run with this model was measured here yet"
    if not each.tokens:
        return "nothing to embed"
    pace = f"at the pace of the latest {amount(each.measured_runs, 'run')} with it"
    if each.seconds < 2 * _MINUTE:
        return f"about {each.seconds:,.0f} s, {pace}"
    if each.seconds < 2 * _HOUR:
        return f"about {each.seconds / _MINUTE:,.0f} min, {pace}"
    return f"about {each.seconds / _HOUR:,.1f} h, {pace}"


def _cost(each: "Passages") -> str:
    from search_app.prices import Origin

    price = each.price
    if price is None or each.cost is None:
        return (
            "unknown: nobody says what it costs; set UNMOVED_EMBEDDING_PRICE to the price of a "
            "million tokens, or name it in the file of UNMOVED_PRICES"
        )
    if price.origin is Origin.FREE:
        return "none: the model runs here"
    line = f"{each.cost:,.6f} {price.currency}, at {price.amount:g} a million tokens"
    if price.origin is Origin.SHIPPED:
        return f"{line} ({price.source}, noted {price.noted}: check it before you rely on it)"
    return f"{line} ({price.origin.value})"
