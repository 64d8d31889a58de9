"""Filling an index that is built beside the one that answers, from the catalog.

The collection's lock is held for a page at a time, and never while anything is embedded: runs that
add, change or remove documents come in between. They write to this index, too, so that nothing
they do has to be done again; what is written here is looked at once more under the lock.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from ingest.copying import StretchCopier
from ingest.embedding import Work, Written, keep_vectors, make_vectors
from ingest.report import Progress
from ingest.targets import Target
from ingest.term_counts import recount, take_over
from ingest.terms import analysed_for
from ingest.turns import Turns
from ingest.writing import Writer, segment_size
from search_app.bootstrap import Services
from search_app.catalog import filling, indexes, lexicons, records, runs
from search_app.catalog.chunks import indexed_text
from search_app.catalog.engine import transaction
from search_app.catalog.filling import Gaps
from search_app.catalog.locks import WritingLock
from search_app.errors import SpentUpError
from search_app.stores.base import VectorStore
from search_app.types import Collection, Failure, Index

DOCUMENTS = 256
"""Documents that are looked at together."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The index whose vectors are taken over, and whether its terms are, as they stand there."""

    index: Index
    with_terms: bool


class Filler:
    """Gives an index a vector of every passage that it lacks; may be begun again at any point."""

    def __init__(
        self,
        *,
        services: Services,
        collection: Collection,
        run_id: UUID,
        target: Target,
        origin: Origin | None,
        fresh: bool,
        proved: bool = False,
        writer: Writer,
        turns: Turns,
        progress: Progress,
    ) -> None:
        """Fill for a run that was started.

        ``origin`` is an index of the same model, if there is one. ``fresh``: nothing is taken over
        from anywhere. ``proved``: the model need not prove itself before vectors that are there are
        taken over; before new ones are written it does. ``writer`` keeps the books of the run:
        proofs, failures, counts.
        """
        self._services = services
        self._engine = services.engine
        self._collection = collection
        self._run_id = run_id
        self._target = target
        self._origin = origin
        self._fresh = fresh
        self._writer = writer
        self._turns = turns
        self._progress = progress
        self._proved = proved

    async def fill(self) -> None:
        """Copy what can be copied, embed the rest.

        Raises:
            InvalidInputError: the index was retired or the collection deleted meanwhile.
            SpentUpError: no money is left; what was proved stays, as with all others.
            EmbedderError, StoreError, CatalogError: as ingest does.
        """
        gaps = await self._gaps()
        self._progress.planned(gaps.missing)
        await self._copy_within_store()
        if not (await self._gaps()).missing:
            return
        pending: list[UUID] = []
        size = segment_size(self._target.embedder)
        after = ""
        while True:
            async with transaction(self._engine) as connection:
                page = await filling.documents_after(
                    connection, self._collection, after, limit=DOCUMENTS
                )
                if not page:
                    break
                ids = [identity for identity, _ in page]
                pending += await filling.lacking(connection, self._target.index, ids)
            while len(pending) >= size:
                await self._write(pending[:size])
                del pending[:size]
            after = page[-1][1]
        if pending:
            await self._write(pending)

    async def finish(self) -> Gaps:
        """Say that the index is ready unless it lacks something, and what it lacks."""
        # Without the lock: it may take long, and searches for it begin only once it is done.
        await self._target.store.optimize(self._target.index.id)
        async with self._turns.turn():
            gaps = await self._gaps()
            if gaps.none:
                async with transaction(self._engine) as connection:
                    await self._settle_terms(connection)
                    await indexes.make_ready(connection, self._target.index.id)
        return gaps

    async def _gaps(self) -> Gaps:
        async with transaction(self._engine) as connection:
            return await filling.gaps(connection, self._target.index)

    async def _copy_within_store(self) -> None:
        """Have the store copy vectors and terms as they are, those that are what they should be."""
        origin = self._origin
        if (
            origin is not None
            and origin.with_terms
            and origin.index.store == self._target.index.store
        ):
            await StretchCopier(
                services=self._services,
                run_id=self._run_id,
                source=origin.index,
                target=self._target,
                counts=self._writer.counts,
                turns=self._turns,
                progress=self._progress,
            ).copy_all()

    async def _write(self, chunk_ids: Sequence[UUID]) -> None:
        """Embed passages, or copy from afar, and write them once the model has proved itself."""
        async with transaction(self._engine) as connection:
            passages = await filling.passages(connection, self._target.index, chunk_ids)
        if not passages:
            return
        if not self._proved:
            await self._writer.prove(self._target)
            self._proved = True
        works = [Work(chunk=passage, fields=passage.fields) for passage in passages]
        texts = [indexed_text(passage.context, passage.text) for passage in passages]
        weighting, analysed = await analysed_for(self._services, self._target, texts)
        made = await make_vectors(
            self._services,
            self._target,
            works,
            self._run_id,
            weighting=weighting,
            analysed=analysed,
            also_from=self._stores_of_origin(),
            fresh=self._fresh,
        )
        if made.embedded:
            await self._writer.prove(self._target)
            await keep_vectors(self._services, self._target, made.fresh)
        await self._note_refused(made)
        async with self._turns.turn() as lock:
            await self._keep(lock, made)
        if made.waiting:
            raise SpentUpError(f"no money is left for {len(made.waiting):,} documents")

    async def _keep(self, lock: WritingLock, made: Written) -> None:
        """Write what is still lacking: a passage may be gone meanwhile, or its fields others."""
        index = self._target.index
        counts = self._writer.counts
        async with transaction(self._engine) as connection:
            fields = await filling.still_lacking(
                connection, index, [point.chunk_id for point in made.points]
            )
        kept = [place for place, point in enumerate(made.points) if point.chunk_id in fields]
        points = [made.points[place] for place in kept]
        await lock.check()
        await self._target.store.upsert(
            index.id, [replace(point, fields=fields[point.chunk_id]) for point in points]
        )
        new = [made.records[place] for place in kept]
        embedded = sum(record.copied_by_run_id is None for record in new)
        counts.chunks.embedded += embedded
        counts.chunks.reused += len(new) - embedded
        async with transaction(self._engine) as connection:
            await records.put(connection, new)
            await runs.set_counts(connection, self._run_id, counts.as_json())
            await lexicons.add(connection, index.id, [made.analysed[place] for place in kept])
        self._progress.written(embedded=embedded, reused=len(new) - embedded)

    async def _note_refused(self, made: Written) -> None:
        if not made.refused:
            return
        async with transaction(self._engine) as connection:
            uris = await filling.uris(connection, list(made.refused))
        await self._writer.fail(
            Failure(source=uris[document_id], reason=reason)
            for document_id, reason in made.refused.items()
            if document_id in uris
        )

    def _stores_of_origin(self) -> list[VectorStore]:
        if self._origin is None or self._origin.index.store == self._target.index.store:
            return []
        return [self._services.store(self._origin.index.store)]

    async def _settle_terms(self, connection: AsyncConnection) -> None:
        """Count the terms of what was copied: as in the origin, or anew where that has others."""
        index_id = self._target.index.id
        lexicon = await lexicons.get(connection, index_id)
        if lexicon is None or lexicon.complete:
            return
        if self._origin is not None and self._origin.with_terms:
            await take_over(connection, self._origin.index.id, index_id, lexicon)
        else:
            await recount(connection, index_id, lexicon)
        await lexicons.complete(connection, index_id)
