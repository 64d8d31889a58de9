"""``ingest models table``: what models there are to choose from."""

from typing import Annotated

import typer

from ingest import model_table
from ingest.cli.models import group
from ingest.cli.tables import AsJson, print_table
from ingest.probes import kept_probes
from search_app.config import load_settings
from search_app.console import print_json


@group.command("table")
def compare_models(
    *,
    markdown: Annotated[bool, typer.Option(help="Print a table in Markdown.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compare models of all providers: as declared, and as probes found them on this machine."""
    probes = kept_probes(load_settings().data_dir)
    if as_json:
        print_json(model_table.as_json(probes))
    elif markdown:
        typer.echo(model_table.markdown(model_table.rows(probes)))
    else:
        print_table(model_table.COLUMNS, list(model_table.rows(probes)), empty="no model is known")
