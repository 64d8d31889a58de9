"""Two runs beside each other: what they were told, with what they worked, and what changed."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog import changes, indexes, models
from search_app.catalog.changes import DocumentChange, Totals, Vectors
from search_app.errors import NotFoundError
from search_app.types import JSON, ModelVersion, Run


@dataclass(frozen=True, kw_only=True)
class Differing:
    """Something by name that differs between two runs; None where one of them has it not."""

    name: str
    first: str | None
    second: str | None


@dataclass(frozen=True, kw_only=True)
class RunDifferences:
    """What differs between an earlier run and a later one.

    ``documents`` is a page of what changed after the first had ended, until the second had;
    ``totals`` counts all of it. Both are None of runs of different collections. ``vectors`` is
    None where a run wrote to no index that is known.
    """

    first: Run
    second: Run
    configuration: Sequence[Differing]
    versions: Sequence[Differing]
    documents: Sequence[DocumentChange] | None
    totals: Totals | None
    vectors: Vectors | None


def flattened(configuration: Mapping[str, JSON], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Give settings by their path, those that are unset left out."""
    for name, value in sorted(configuration.items()):
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{name}.")
        elif value not in (None, [], ""):
            written = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            yield f"{prefix}{name}", written


def differing(first: Mapping[str, str], second: Mapping[str, str]) -> list[Differing]:
    """List what two mappings do not have alike, by name."""
    return [
        Differing(name=name, first=first.get(name), second=second.get(name))
        for name in sorted(first.keys() | second.keys())
        if first.get(name) != second.get(name)
    ]


async def model_of(connection: AsyncConnection, run: Run) -> ModelVersion | None:
    """Get the model version of the index that a run wrote to; None where that is not known."""
    if run.index_id is None:
        return None
    try:
        index = await indexes.get(connection, run.index_id)
    except NotFoundError:
        # Gone with its collection.
        return None
    return await models.get(connection, index.model_version_id)


async def compare_runs(
    connection: AsyncConnection, one: Run, other: Run, *, limit: int = 100, offset: int = 0
) -> RunDifferences:
    """Compare two runs, the earlier one first, with a page of the documents that changed."""
    first, second = sorted((one, other), key=lambda run: (run.started_at, run.id.bytes))
    documents = totals = None
    if first.collection == second.collection:
        window = (second.id, first.finished_at or first.started_at, _end(second))
        if first.id == second.id:
            window = (second.id, first.started_at, _end(second))
        documents = await changes.documents_between(connection, *window, limit=limit, offset=offset)
        totals = await changes.totals_between(connection, *window)
    return RunDifferences(
        first=first,
        second=second,
        configuration=differing(
            dict(flattened(first.configuration)), dict(flattened(second.configuration))
        ),
        versions=differing(await _versions(connection, first), await _versions(connection, second)),
        documents=documents,
        totals=totals,
        vectors=await _vectors(connection, first, second),
    )


def _end(run: Run) -> datetime:
    return run.finished_at or datetime.now(UTC)


async def _versions(connection: AsyncConnection, run: Run) -> dict[str, str]:
    model = await model_of(connection, run)
    named: dict[str, UUID | str | None] = {
        "code": run.code_version,
        "host": run.host,
        "model version": None if model is None else f"{model.name} {str(model.id)[:8]}",
        "index": run.index_id,
    }
    worked_with = {name: str(value) for name, value in named.items() if value is not None}
    return {**worked_with, **run.library_versions}


async def _vectors(connection: AsyncConnection, first: Run, second: Run) -> Vectors | None:
    if first.index_id is None or second.index_id is None:
        return None
    if first.index_id == second.index_id:
        return await changes.vectors_of_runs(connection, first.index_id, first.id, second.id)
    return await changes.vectors_of_indexes(connection, first.index_id, second.index_id)
