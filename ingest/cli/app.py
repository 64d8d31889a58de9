"""The application object that the modules of commands hang on."""

from typing import Annotated

import typer

from search_app.console import version_option

app = typer.Typer(
    name="ingest",
    help="Read documents, embed them, and keep the indexes true.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def options(*, version: Annotated[bool, version_option()] = False) -> None:
    """Read documents, embed them, and keep the indexes true."""
