"""The application object that the modules of commands hang on."""

import typer

app = typer.Typer(
    name="ingest",
    help="Read documents, embed them, and keep the indexes true.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
