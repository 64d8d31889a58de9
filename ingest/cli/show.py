"""``ingest status``: what there is."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from ingest.cli.app import app
from ingest.cli.tables import AsJson, print_table
from search_app.config import Settings, load_settings
from search_app.console import print_json, wait_for

if TYPE_CHECKING:
    from search_app.catalog.collections import CollectionSummary


@app.command()
def status(*, as_json: AsJson = False) -> None:
    """List the collections: what is in them, what is unfinished, and which model answers."""
    settings = load_settings()
    found = wait_for(_collections(settings), settings)
    if as_json:
        print_json([asdict(summary) for summary in found])
        return
    print_table(
        ["collection", "documents", "chunks", "unfinished", "model", "store"],
        [
            [
                summary.name,
                f"{summary.documents:,}",
                f"{summary.chunks:,}",
                f"{summary.pending_documents:,}",
                summary.model or "-",
                summary.store or "-",
            ]
            for summary in found
        ],
        empty="nothing ingested yet; try: ingest add PATH",
    )


async def _collections(settings: Settings) -> Sequence["CollectionSummary"]:
    from search_app.bootstrap import open_services
    from search_app.catalog import collections
    from search_app.catalog.engine import transaction

    async with (
        open_services(settings, create=False) as services,
        transaction(services.engine) as connection,
    ):
        return await collections.summaries(connection)
