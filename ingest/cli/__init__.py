"""The ingest command: it parses, delegates to the pipeline, and prints."""

import sys

from ingest.cli.app import app
from search_app.console import run

# Each module adds its commands to the app.
from ingest.cli import (  # isort: skip # noqa: F401
    add,
    analysis,
    cache,
    check,
    checks,
    collections,
    compare,
    doctor,
    documents,
    evaluation,
    exclusions,
    export,
    importing,
    indexes,
    mapping,
    model_table,
    models,
    prices,
    reconcile,
    reindex,
    retry,
    rm,
    runs,
    schedule,
    show,
    study,
    watch,
    worker,
)


__all__ = ["app", "main"]


def main() -> None:
    """Run the command; one line on standard error and exit code 2 when nothing could be done."""
    sys.exit(run(app))
