"""Layer 0: is what is stored what was written, and was what was written sound? Sends no text."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from hashlib import sha256
from uuid import UUID

import numpy as np
from sqlalchemy.ext.asyncio import AsyncEngine

from search_app.catalog import chunks, sampling
from search_app.catalog.chunks import indexed_text
from search_app.catalog.engine import reading
from search_app.consistency.disagreements import Kind
from search_app.consistency.inspecting import inspect
from search_app.consistency.types import Fault, FaultKind, Integrity
from search_app.consistency.values import TAIL, grids, not_finite, off_length, zero, zero_tail
from search_app.embedders.base import Embedder
from search_app.stores.base import VectorStore
from search_app.types import Index, Matrix, ModelIdentity, ModelVersion

PAGE = 1_000

_FAULTS = {
    Kind.MISSING: (FaultKind.MISSING, "recorded, and not in the store"),
    Kind.INCOMPLETE: (FaultKind.MISSING, "the document is shown, and this passage has no vector"),
    Kind.ORPHANED: (FaultKind.ORPHANED, "in the store, and the catalog knows nothing of it"),
    Kind.ALTERED: (FaultKind.ALTERED, "the stored bytes are not those that were recorded"),
    Kind.STALE: (FaultKind.STALE, "the point names other owners or fields than the catalog"),
    Kind.DUPLICATE: (FaultKind.STALE, "the store has it twice"),
}
_DETAILS = {
    FaultKind.NOT_FINITE: "holds NaN or infinity",
    FaultKind.ZERO: "is zero",
    FaultKind.NORM: "is not of length 1",
    FaultKind.TAIL: "ends in zeros that the model's own vectors do not have",
    FaultKind.COLLAPSED: "different texts have one vector",
    FaultKind.PREFIX: "was made of its text with another prefix than the model's",
    FaultKind.STALE_TEXT: "was made of a text that has changed since",
}
_WORDS = re.compile(r"[\W_]+")


@dataclass(kw_only=True)
class Values:
    """Gathers what is wrong with stored values while they stream by.

    ``usual`` are the formats on whose grid the model's own vectors lie.
    """

    usual: Sequence[str]
    seen: int = 0
    faults: dict[FaultKind, list[UUID]] = field(default_factory=lambda: defaultdict(list))
    grids: dict[str, list[UUID]] = field(default_factory=lambda: defaultdict(list))

    def add(self, chunk_ids: Sequence[UUID], vectors: Matrix) -> None:
        """Look at the next vectors."""
        self.seen += len(chunk_ids)
        for kind, rows in (
            (FaultKind.NOT_FINITE, not_finite(vectors)),
            (FaultKind.ZERO, zero(vectors)),
            (FaultKind.NORM, off_length(vectors)),
            (FaultKind.TAIL, zero_tail(vectors) & (TAIL not in self.usual)),
        ):
            self.faults[kind] += [chunk_ids[place] for place in np.flatnonzero(rows).tolist()]
        for name, rows in grids(vectors).items():
            if name not in self.usual:
                self.grids[name] += [chunk_ids[place] for place in np.flatnonzero(rows).tolist()]

    def found(self) -> list[Fault]:
        """Give the faults found, by kind."""
        found = [
            Fault(kind=kind, ids=ids, detail=_DETAILS[kind])
            for kind, ids in self.faults.items()
            if ids
        ]
        found += [
            Fault(kind=FaultKind.GRID, ids=ids, detail=f"values lie on the grid of {name}")
            for name, ids in self.grids.items()
            if ids
        ]
        return found


async def inspected(
    engine: AsyncEngine, index: Index, store: VectorStore, *, writing: bool
) -> Integrity:
    """Compare the whole store with the catalog.

    Raises:
        StoreError, CatalogError: one of them does not answer.
    """
    scanned = 0
    found: dict[Kind, list[UUID]] = defaultdict(list)
    async with aclosing(inspect(engine, index, store, writing=writing)) as parts:
        async for part in parts:
            scanned += part.points
            for finding in part.findings:
                found[finding.kind].append(finding.chunk_id)
    faults = [
        Fault(kind=_FAULTS[kind][0], ids=ids, detail=_FAULTS[kind][1])
        for kind, ids in found.items()
        if kind in _FAULTS
    ]
    return Integrity(scanned=scanned, faults=faults)


async def collapsed(engine: AsyncEngine, index: Index) -> list[Fault]:
    """Find vectors shared by texts that no tokenizer takes for the same."""
    async with reading(engine) as connection:
        groups = await sampling.shared_vectors(connection, index.id)
        ids = [chunk_id for group in groups for chunk_id in group.chunk_ids]
        texts = {
            each.chunk_id: indexed_text(each.context, each.text)
            for each in await chunks.recorded(connection, index.id, ids)
        }
    wrong = [
        chunk_id
        for group in groups
        if len({plain(texts[each]) for each in group.chunk_ids if each in texts}) > 1
        for chunk_id in group.chunk_ids
    ]
    if not wrong:
        return []
    return [Fault(kind=FaultKind.COLLAPSED, ids=wrong, detail=_DETAILS[FaultKind.COLLAPSED])]


def plain(text: str) -> str:
    """Leave of a text what every tokenizer tells apart: letters and digits, case and marks aside.

    Emoji and other signs stay where there is nothing else.
    """
    folded = unicodedata.normalize("NFKD", text).casefold()
    bare = "".join(mark for mark in folded if not unicodedata.combining(mark))
    return _WORDS.sub("", bare) or bare.strip()


@dataclass(frozen=True, kw_only=True)
class Texts:
    """What the texts of an index say without a model.

    ``stale`` vectors were made of another text, ``misprefixed`` ones of the text with another
    prefix than the model version's. ``prefixed`` counts vectors whose text was sent with that
    prefix, where the embedder now adds another one.
    """

    stale: Sequence[UUID]
    misprefixed: Sequence[UUID]
    prefixed: int


async def texts_checked(
    engine: AsyncEngine, index: Index, version: ModelVersion, embedder: Embedder
) -> Texts:
    """Compare the hash of the text that each vector was made of with that of its text now."""
    stale: list[UUID] = []
    misprefixed: list[UUID] = []
    prefixed, after = 0, None
    while True:
        async with reading(engine) as connection:
            page = await chunks.recorded_after(connection, index.id, after, limit=PAGE)
            hashes = await sampling.sent_hashes(
                connection, index.id, [each.chunk_id for each in page]
            )
        if not page:
            return Texts(stale=stale, misprefixed=misprefixed, prefixed=prefixed)
        after = page[-1].chunk_id
        for each in page:
            if (recorded := hashes.get(each.chunk_id)) is None:
                continue
            text = indexed_text(each.context, each.text)
            if _hash(embedder.text_sent(text, "document")) == recorded:
                continue
            if _hash(version.identity.document_prefix + text) == recorded:
                prefixed += 1
            elif recorded in _otherwise_prefixed(text, version.identity):
                misprefixed.append(each.chunk_id)
            else:
                stale.append(each.chunk_id)


def _otherwise_prefixed(text: str, identity: ModelIdentity) -> set[bytes]:
    prefix = identity.document_prefix
    return {_hash(other + text) for other in ("", identity.query_prefix, prefix + prefix)}


def text_faults(texts: Texts) -> list[Fault]:
    """Give what is wrong with the texts that vectors were made of."""
    return [
        Fault(kind=kind, ids=ids, detail=_DETAILS[kind])
        for kind, ids in (
            (FaultKind.PREFIX, texts.misprefixed),
            (FaultKind.STALE_TEXT, texts.stale),
        )
        if ids
    ]


def _hash(text: str) -> bytes:
    return sha256(text.encode()).digest()
