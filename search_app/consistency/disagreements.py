"""What can be wrong between the catalog and a store, and how it is told apart. No I/O."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from uuid import UUID

from search_app.catalog.auditing import AuditedChunk, Recorded
from search_app.stores.base import Survey, digest_of, owners_of
from search_app.types import JSON, Index, IndexState, Point

_OWNERS = ("document", "index", "model version", "run")


class Kind(StrEnum):
    """What is wrong with a chunk in an index.

    ``unfinished`` is no fault: a run left or has it half done, and the next one goes on with it.
    """

    MISSING = "missing"
    ORPHANED = "orphaned"
    ALTERED = "altered"
    STALE = "stale"
    DUPLICATE = "duplicate"
    INCOMPLETE = "incomplete"
    UNFINISHED = "unfinished"


FAULTS = tuple(kind for kind in Kind if kind is not Kind.UNFINISHED)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What is wrong with one chunk; ``detail`` is one line for a person."""

    chunk_id: UUID
    kind: Kind
    detail: str


_Found = Callable[[Kind, str], Finding]


def disagreeing(records: Recorded, points: Survey) -> list[bytes]:
    """Name the chunks over which two sorted stretches of the same range of ids disagree."""
    if records.chunk_ids == points.chunk_ids:
        if _agree(records, points):
            return []
        pairs = zip(
            records.chunk_ids,
            zip(records.owners, records.fields, records.digests, records.shown, strict=True),
            zip(points.owners, points.fields, points.digests, strict=True),
            strict=True,
        )
        return [chunk_id for chunk_id, record, point in pairs if not _same(record, point)]
    recorded = dict(
        zip(
            records.chunk_ids,
            zip(records.owners, records.fields, records.digests, records.shown, strict=True),
            strict=True,
        )
    )
    stored = dict(
        zip(
            points.chunk_ids,
            zip(points.owners, points.fields, points.digests, strict=True),
            strict=True,
        )
    )
    apart = recorded.keys() ^ stored.keys()
    both = recorded.keys() & stored.keys()
    apart |= {chunk_id for chunk_id in both if not _same(recorded[chunk_id], stored[chunk_id])}
    return sorted(apart)


def _agree(records: Recorded, points: Survey) -> bool:
    """Compare whole columns, which is what nearly always suffices."""
    return (
        list(records.digests) == list(points.digests)
        and tuple(records.owners) == tuple(points.owners)
        and tuple(records.fields) == tuple(points.fields)
        and all(records.shown)
    )


def _same(record: tuple[bytes, str, bytes, bool], point: tuple[bytes, str, bytes]) -> bool:
    owners, fields, digest, shown = record
    return (
        shown
        and owners == point[0]
        and digest == point[2]
        and (fields == point[1] or _parsed(fields) == _parsed(point[1]))
    )


@lru_cache(maxsize=1024)
def _parsed(fields: str) -> JSON:
    return json.loads(fields)


def judge(
    index: Index, chunk_id: UUID, chunk: AuditedChunk | None, point: Point | None, *, writing: bool
) -> Finding | None:
    """Say what is wrong with a chunk over which catalog and store seemed to disagree, if it is.

    ``writing``: a run is at work in the collection, so what looks left behind may be under way.
    """

    def found(kind: Kind, detail: str) -> Finding:
        return Finding(chunk_id=chunk_id, kind=kind, detail=detail)

    if chunk is None:
        return found(Kind.ORPHANED, "no chunk of that id is known") if point else None
    if "deleting" in (chunk.state, chunk.document_state):
        if point is None and chunk.stored_hash is None:
            return None
        kind = Kind.UNFINISHED if writing else Kind.STALE
        return found(kind, "its document or passage is being removed")
    if chunk.stored_hash is None:
        return None if point is None else _unrecorded(index, chunk, found)
    return _recorded(chunk, point, found)


def _recorded(chunk: AuditedChunk, point: Point | None, found: _Found) -> Finding | None:
    if point is None:
        return found(Kind.MISSING, "recorded, and not in the store")
    if digest_of(point) != chunk.stored_hash:
        return found(Kind.ALTERED, "the stored vector is not the one that was recorded")
    return _stale(chunk, point, found)


def _unrecorded(index: Index, chunk: AuditedChunk, found: _Found) -> Finding | None:
    if chunk.collection_id != index.collection_id or chunk.chunking != index.chunking.name:
        return found(Kind.ORPHANED, "its chunk belongs to another collection or chunking")
    if chunk.state == "pending" or index.state is IndexState.BUILDING:
        return found(Kind.UNFINISHED, "a run was or is at work on it")
    # Without a record nobody knows which text and model made it: it counts as not there.
    return None


def _stale(chunk: AuditedChunk, point: Point, found: _Found) -> Finding | None:
    owners, known = owners_of(point), chunk.owners or b""
    differing = [
        name
        for place, name in enumerate(_OWNERS)
        if owners[16 * place : 16 * place + 16] != known[16 * place : 16 * place + 16]
    ]
    if not differing and point.fields != chunk.fields:
        if chunk.changing:
            return found(Kind.UNFINISHED, "its document is being replaced")
        differing = ["filter fields"]
    if not differing:
        return None
    return found(Kind.STALE, f"its point names another {_listed(differing)}")


def _listed(names: Sequence[str]) -> str:
    return " and ".join(names)
