"""Standard input as a source: kept on disk, so that it can be read again like any file."""

import asyncio
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from ingest.loaders import is_supported, unknown_type
from search_app.bootstrap import Services
from search_app.catalog import collections
from search_app.catalog.engine import transaction
from search_app.config import Settings
from search_app.errors import InvalidInputError
from search_app.uploads import Upload, safe_name, upload_folder

STDIN = "-"
"""How standard input is named among arguments."""

DEFAULT_NAME = "stdin.txt"

_BLOCK = 1 << 20


def receive(settings: Settings, name: str, stream: BinaryIO) -> Upload:
    """Take in a stream to its end; blocks, and leaves nothing behind where it fails.

    Which collection it is for need not be known yet: ``keep`` puts it there.

    Raises:
        InvalidInputError: nothing reads files of this name, or nothing came.
        TooLargeError: more came than the settings let in.
        SourceError: the disk does not take it.
    """
    if not is_supported(safe_name(name)):
        raise InvalidInputError(f"--name {safe_name(name)}: {unknown_type(safe_name(name))}")
    most = settings.max_file_mb * 1_000_000
    with ExitStack() as unfinished:
        upload = Upload(settings.data_dir / "uploads", name, most_bytes=most)
        unfinished.enter_context(upload)
        while block := stream.read(_BLOCK):
            upload.write(block)
        if upload.size == 0:
            raise InvalidInputError("nothing came over standard input")
        unfinished.pop_all()
    return upload


async def keep(services: Services, collection: str, upload: Upload) -> Path:
    """Put what was received into the folder of a collection, which is made where it is missing.

    Raises:
        InvalidInputError: the collection's name cannot be one.
        SourceError: the disk does not take it.
        CatalogError: the catalog fails.
    """
    async with transaction(services.engine) as connection:
        found = await collections.get_or_create(connection, collection)
    folder = upload_folder(services.settings, found.id)
    return await asyncio.to_thread(upload.finish, folder)
