"""``ingest export``: the vectors of a collection as a file, with where they come from."""

from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Self

import typer

from ingest.cli.app import app
from ingest.cli.tables import AsJson, amount, named, short
from search_app.config import Settings, load_settings
from search_app.console import print_json, printable, wait_for
from search_app.errors import InvalidInputError

if TYPE_CHECKING:
    from search_app.exporting import Export

_FORMATS = {".parquet": "parquet", ".csv": "csv", ".npy": "npy"}


@app.command()
def export(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="Where to: .parquet, .csv or .npy, beside which the other columns go as .csv.",
        ),
    ],
    *,
    collection: Annotated[str | None, typer.Option(help="Of which collection.")] = None,
    index: Annotated[
        str, typer.Option(help="Id of an index, or its beginning; the one that answers if unset.")
    ] = "",
    texts: Annotated[bool, typer.Option("--texts", help="With the texts of passages.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over what is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write vectors, metadata, clusters and places on the map, with index, model version and run.

    Memory stays the same however many there are. Parquet needs pip install 'unmoved[export]'.
    """
    settings = load_settings()
    files = _files(file, force=force)
    done = wait_for(
        _export(settings, named(collection, settings), index, files, texts=texts), settings
    )
    if as_json:
        print_json(
            {
                "files": [str(path) for path in files],
                "collection": done.collection.name,
                "index_id": str(done.index.id),
                "model_version_id": str(done.version.id),
                "model": done.version.name,
                "passages": done.passages,
                "dimensions": done.version.identity.dimensions,
            }
        )
        return
    names = " and ".join(printable(str(path)) for path in files)
    typer.echo(
        f"{amount(done.passages, 'vector')} of {done.version.name}, "
        f"index {short(done.index.id)}, written to {names}"
    )


def _files(file: Path, *, force: bool) -> list[Path]:
    """Name the files that are written.

    Raises:
        InvalidInputError: the suffix says no format, or something is there already.
    """
    if file.suffix.lower() not in _FORMATS:
        raise InvalidInputError(
            f"{file.name!r} does not say what to write; let it end in .parquet, .csv or .npy"
        )
    files = [file, file.with_suffix(".csv")] if file.suffix.lower() == ".npy" else [file]
    there = [str(path) for path in files if path.exists()]
    if there and not force:
        raise InvalidInputError(f"{there[0]} is there already; --force writes over it")
    return files


async def _export(
    settings: Settings, collection: str, index: str, files: list[Path], *, texts: bool
) -> "Export":
    from search_app import exporting
    from search_app.bootstrap import open_services
    from search_app.catalog import collections, indexes
    from search_app.catalog.engine import reading

    async with open_services(settings, create=False) as services:
        async with reading(services.engine) as connection:
            known = await collections.get(connection, collection)
            chosen = await indexes.find(connection, index) if index else None
        kind = _FORMATS[files[0].suffix.lower()]
        planned = await exporting.prepare(
            services, known, index=chosen, kind=exporting.read_format(kind), texts=texts
        )
        with _Parts(files) as parts:
            if kind == "npy":
                await exporting.write_npy(services, planned, *parts.opened)
            else:
                async for piece in exporting.stream(services, planned):
                    parts.opened[0].write(piece)
        return planned


class _Parts:
    """Files that are there once all of them are written, and not at all otherwise."""

    def __init__(self, files: list[Path]) -> None:
        self._files = files
        self._parts = [path.with_name(f".{path.name}.part") for path in files]
        self._stack = ExitStack()
        self.opened: list[IO[bytes]] = []

    def __enter__(self) -> Self:
        try:
            self.opened = [self._stack.enter_context(part.open("wb")) for part in self._parts]
        except OSError as exc:
            self._stack.close()
            raise InvalidInputError(f"cannot write {exc.filename}: {exc.strerror}") from exc
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stack.close()
        for part, path in zip(self._parts, self._files, strict=True):
            if kind is None:
                part.replace(path)
            else:
                part.unlink(missing_ok=True)
