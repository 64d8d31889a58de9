"""``ingest prices``: what models cost, as far as anybody says it."""

from dataclasses import asdict
from typing import Annotated

import typer

from ingest.cli.app import app
from ingest.cli.tables import AsJson, print_table
from search_app.config import load_settings
from search_app.console import print_json


@app.command()
def prices(
    *,
    as_toml: Annotated[
        bool,
        typer.Option(
            "--toml", help="Print the table that comes with the program, to be copied and changed."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List what a million tokens cost, by model, and who says so."""
    from search_app.bootstrap import prices_in_force
    from search_app.prices import SHIPPED

    if as_toml:
        typer.echo(SHIPPED.read_text(encoding="utf-8"), nl=False)
        return
    found = prices_in_force(load_settings())
    listed = {spec: price for spec in sorted(found.table) if (price := found.of(spec))}
    if as_json:
        print_json(
            {
                "currency": found.currency,
                "every_model": found.every,
                "prices": {spec: asdict(price) for spec, price in listed.items()},
            }
        )
        return
    print_table(
        ["model", f"{found.currency} a million tokens", "by", "noted", "source"],
        [
            [spec, f"{price.amount:g}", price.origin.value, price.noted or "-", price.source or "-"]
            for spec, price in listed.items()
        ],
        empty="no prices are known; name a file in UNMOVED_PRICES",
    )
    if found.every is not None:
        typer.echo(f"UNMOVED_EMBEDDING_PRICE: every model that does not run here {found.every:g}")
    else:
        typer.echo("Models that run here cost nothing. Check shipped prices at their source.")
