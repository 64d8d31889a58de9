"""The collection that a golden set is indexed into, by the same ingest that serves users."""

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

from ingest.evaluation.golden import GoldenSet
from ingest.evaluation.variants import Variant
from ingest.pipeline import IngestRequest, ingest
from ingest.report import IngestReport, Progress
from ingest.types import LoadOptions
from ingest.uploads import keep
from search_app.bootstrap import Services
from search_app.catalog import collections
from search_app.catalog import sources as source_rows
from search_app.catalog.engine import transaction
from search_app.errors import InvalidInputError
from search_app.uploads import Upload, upload_folder

_MOST_BYTES = 1 << 40
_ROOTS = ("", "http:", "https:")
"""What all sources lie below: files, and web addresses."""


def throwaway_name() -> str:
    """Make a name that no collection has."""
    return f"eval-{uuid4().hex[:12]}"


def file_name(variant: Variant) -> str:
    """Name the file of documents after how they are indexed, so that ways do not mix."""
    digest = sha256(json.dumps(variant.indexing).encode()).hexdigest()
    return f"eval-{digest[:12]}.jsonl"


async def check_free(services: Services, name: str, variant: Variant) -> None:
    """See that a collection that is to be kept holds nothing but what an evaluation put there.

    Raises:
        InvalidInputError: it holds something else.
    """
    async with transaction(services.engine) as connection:
        known = await collections.check_open(connection, name)
        if known is None:
            return
        ours = (upload_folder(services.settings, known.id) / file_name(variant)).as_posix()
        for root in _ROOTS:
            for source in await source_rows.under(connection, known, root, limit=2):
                if source.uri != ours:
                    raise InvalidInputError(
                        f"collection {name!r} holds other things, or was indexed in another way; "
                        "choose another name for --keep"
                    )


async def stage(services: Services, golden: GoldenSet, variant: Variant, name: str) -> Path:
    """Write the documents of a set into the folder of a collection, made where it is missing."""
    with Upload(
        services.settings.data_dir / "uploads", file_name(variant), most_bytes=_MOST_BYTES
    ) as upload:
        for line in _lines(golden):
            upload.write(line)
        return await keep(services, name, upload)


async def index(services: Services, path: Path, name: str, progress: Progress) -> IngestReport:
    """Index the documents; those that are in already are passed over.

    Raises:
        InvalidInputError: a document cannot be read.
    """
    report = await ingest(
        services,
        IngestRequest(
            arguments=[str(path)],
            collection=name,
            embedder=services.settings.embedder,
            store=services.settings.store,
            load=LoadOptions(
                text_fields=("text",),
                title_field="title",
                id_field="id",
                max_file_mb=services.settings.max_file_mb,
            ),
        ),
        progress,
    )
    if report.documents.failed:
        first = report.errors[0]
        raise InvalidInputError(
            f"{report.documents.failed:,} documents cannot be read; the first: "
            f"{first.source.rpartition('#')[2]}: {first.reason}"
        )
    return report


def _lines(golden: GoldenSet) -> Iterator[bytes]:
    for record in golden.records():
        yield json.dumps(record).encode() + b"\n"
