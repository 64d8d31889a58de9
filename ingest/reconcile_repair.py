"""Putting right what catalog and store disagree about, as far as the outcome can be proved.

A vector is proved by the hash in its record, wherever it is taken from; one that nobody has any
more is embedded anew by a model that proves itself before and after, and gets a new record. What
can be proved in neither way is left as it is, with the reason.
"""

import importlib.metadata
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import UUID

from ingest.embedding import Work, Written, keep_vectors, make_vectors
from ingest.plan import PlannedChunk
from ingest.removal import finish_removals
from ingest.report import Counts
from ingest.running import VERSIONED
from ingest.targets import Target, open_targets, prove
from ingest.terms import PAGE, analyse_all, analysed_for, bring_up_to_date
from search_app.bm25 import passage_terms
from search_app.bootstrap import Services
from search_app.catalog import auditing, chunks, lexicons, locks, records, runs
from search_app.catalog.auditing import Holder, Restorable
from search_app.catalog.chunks import indexed_text
from search_app.catalog.engine import transaction
from search_app.catalog.locks import WritingLock
from search_app.consistency.disagreements import Finding, Kind
from search_app.embedders.metering import Meter
from search_app.errors import EmbedderError, StoreRefusedError, UnmovedError
from search_app.stores.base import digest_of
from search_app.types import JSON, Collection, Index, Point, RunStatus, Vector

Left = dict[UUID, str]
"""Why something was left as it is, by chunk."""

_UNFINISHED = "the next run that writes to the collection finishes it"
_DUPLICATE = "which of both is meant cannot be told; drop the index and embed it anew"
_KNOWN = "the catalog knows the chunk, so deleting its vector may be wrong"
_REMOVED = "its removal could not be finished; the next ingest tries again"


@asynccontextmanager
async def repairing(
    services: Services, collection: Collection, waiting: Callable[[], None]
) -> AsyncIterator["Repair"]:
    """Hold the collection's lock for repairs, recorded as a run of their own."""
    async with locks.writing(services.engine, collection, waiting) as lock:
        async with transaction(services.engine) as connection:
            await runs.mark_interrupted(connection, collection)
            run_id = await runs.start(
                connection,
                kind="reconcile",
                collection=collection,
                configuration={"collection": collection.name, "repair": True},
                code_version=importlib.metadata.version("unmoved"),
                library_versions={name: importlib.metadata.version(name) for name in VERSIONED},
            )
        repair = Repair(services, collection, run_id, lock)
        try:
            await repair.begin()
            yield repair
        except BaseException as exc:
            await repair.end(RunStatus.FAILED, f"{exc}" or type(exc).__name__)
            raise
        await repair.end(RunStatus.SUCCEEDED if not repair.left else RunStatus.PARTIAL, None)


class Repair:
    """Repairs of one collection, whose lock is held."""

    def __init__(
        self, services: Services, collection: Collection, run_id: UUID, lock: WritingLock
    ) -> None:
        """Take what the run was begun with."""
        self.run_id = run_id
        self.left = 0
        self._services = services
        self._collection = collection
        self._lock = lock
        self._targets: Mapping[UUID, Target] = {}
        self._meter = Meter()
        self._counts = Counts(sent=self._meter.sent, currency=services.prices.currency)
        self._faults: dict[str, JSON] = {}
        self._without_model: dict[UUID, str] = {}

    async def begin(self) -> None:
        """Open the indexes, and finish the removals that a run left half done."""
        targets = await open_targets(
            self._services,
            self._collection,
            embedder_spec=None,
            store=None,
            meter=self._meter,
        )
        self._targets = {target.index.id: target for target in targets}
        await finish_removals(self._services, self._collection, targets, self.run_id, self._counts)

    async def end(self, status: RunStatus, reason: str | None) -> None:
        """Record how the run ended."""
        counts = {**self._counts.as_json(), "faults": self._faults}
        try:
            async with transaction(self._services.engine) as connection:
                await runs.finish(
                    connection, self.run_id, status=status, counts=counts, reason=reason
                )
        except UnmovedError:
            # The catalog is what failed: the error under way says so, and the next run of the
            # collection marks this one as interrupted.
            if status is not RunStatus.FAILED:
                raise

    def note(self, found: Mapping[Kind, int], repaired: Mapping[Kind, int]) -> None:
        """Count what was found in an index and what of it was repaired."""
        for name, number in found.items():
            self._faults[name] = self._faults.get(name, 0) + number
        self._faults["repaired"] = self._faults.get("repaired", 0) + sum(repaired.values())

    async def mend(self, index: Index, found: Sequence[Finding]) -> Left:
        """Repair what can be; give the reason for everything else.

        Raises:
            StoreError: a store cannot be reached.
            CatalogError: likewise for the catalog.
        """
        target = self._targets[index.id]
        by_kind: defaultdict[Kind, list[UUID]] = defaultdict(list)
        for finding in found:
            by_kind[finding.kind].append(finding.chunk_id)
        left: Left = dict.fromkeys(by_kind[Kind.UNFINISHED], _UNFINISHED)
        left |= dict.fromkeys(by_kind[Kind.DUPLICATE], _DUPLICATE)
        left |= await self._drop(target, by_kind[Kind.ORPHANED])
        left |= await self._rewrite(target, by_kind[Kind.STALE])
        lost = [*by_kind[Kind.MISSING], *by_kind[Kind.ALTERED], *by_kind[Kind.INCOMPLETE]]
        left |= await self._restore(target, lost)
        self.left += len(left) - len(by_kind[Kind.UNFINISHED])
        return left

    async def recount(self, index: Index) -> None:
        """Count the words of an index anew, with the weights that it has."""
        target = self._targets[index.id]
        if await bring_up_to_date(self._services, target):
            return
        async with transaction(self._services.engine) as connection:
            known = await lexicons.get(connection, index.id)
            if known is None:
                return
            await lexicons.drop(connection, index.id)
            await lexicons.create(connection, index.id, known.weighting, complete=False)
        after = None
        while True:
            async with transaction(self._services.engine) as connection:
                page = await chunks.recorded_after(connection, index.id, after, limit=PAGE)
            if not page:
                break
            texts = [indexed_text(each.context, each.text) for each in page]
            analysed = await analyse_all(texts, known.weighting.analyzer)
            async with transaction(self._services.engine) as connection:
                await lexicons.add(connection, index.id, analysed)
            after = page[-1].chunk_id
        async with transaction(self._services.engine) as connection:
            await lexicons.complete(connection, index.id)

    async def _drop(self, target: Target, chunk_ids: Sequence[UUID]) -> Left:
        """Delete points that no row of the catalog knows."""
        if not chunk_ids:
            return {}
        async with transaction(self._services.engine) as connection:
            known = await auditing.chunks_with_records(connection, target.index.id, chunk_ids)
        unknown = [chunk_id for chunk_id in chunk_ids if chunk_id not in known]
        await self._lock.check()
        await target.store.delete(target.index.id, unknown)
        self._counts.chunks.removed += len(unknown)
        return dict.fromkeys(known, _KNOWN)

    async def _rewrite(self, target: Target, chunk_ids: Sequence[UUID]) -> Left:
        """Write points anew whose vectors are right and whose payload is not."""
        if not chunk_ids:
            return {}
        rows = await self._rows(target, chunk_ids)
        points = await target.store.fetch(target.index.id, [row.id for row in rows])
        vectors = {point.chunk_id: point.vector for point in points}
        mended = [
            (row, vector)
            for row in rows
            if row.stored_hash is not None and (vector := vectors.get(row.id)) is not None
        ]
        await self._write(target, mended)
        done = {row.id for row, _ in mended}
        return {chunk_id: _REMOVED for chunk_id in chunk_ids if chunk_id not in done}

    async def _restore(self, target: Target, chunk_ids: Sequence[UUID]) -> Left:
        """Put vectors back: the same bytes from elsewhere, or new ones by the same model."""
        if not chunk_ids:
            return {}
        rows = await self._rows(target, chunk_ids)
        found = await self._elsewhere(rows)
        copied = [
            (row, found[row.stored_hash])
            for row in rows
            if row.stored_hash is not None and row.stored_hash in found
        ]
        await self._write(target, copied)
        self._counts.chunks.reused += len(copied)
        there = {row.id for row, _ in copied}
        return await self._embed(target, [row for row in rows if row.id not in there])

    async def _rows(self, target: Target, chunk_ids: Sequence[UUID]) -> list[Restorable]:
        async with transaction(self._services.engine) as connection:
            return await auditing.restorable(connection, target.index.id, chunk_ids)

    async def _elsewhere(self, rows: Sequence[Restorable]) -> dict[bytes, Vector]:
        """Find vectors by the hash of their bytes in any index that still has them."""
        sent = {row.sent_hash for row in rows if row.sent_hash is not None}
        stored = {row.stored_hash for row in rows if row.stored_hash is not None}
        async with transaction(self._services.engine) as connection:
            held = await auditing.holders(connection, sorted(sent), sorted(stored))
        by_index: defaultdict[tuple[UUID, str], list[Holder]] = defaultdict(list)
        for holder in held:
            by_index[holder.index_id, holder.store].append(holder)
        found: dict[bytes, Vector] = {}
        for (index_id, store), holders in by_index.items():
            wanted = {each.chunk_id for each in holders if each.stored_hash not in found}
            try:
                points = await self._services.store(store).fetch(index_id, sorted(wanted))
            except StoreRefusedError:
                # It is there and has no such index: whatever became of it, it cannot help.
                continue
            for point in points:
                if point.vector is not None and (digest := digest_of(point)) in stored:
                    found[digest] = point.vector
        return found

    async def _write(self, target: Target, pairs: Sequence[tuple[Restorable, Vector]]) -> None:
        """Write points as their records say."""
        if not pairs:
            return
        texts = [indexed_text(row.context, row.text) for row, _ in pairs]
        weighting, analysed = await analysed_for(self._services, target, texts)
        points = [
            Point(
                chunk_id=row.id,
                document_id=row.document_id,
                index_id=target.index.id,
                model_version_id=target.version.id,
                run_id=row.run_id or self.run_id,
                fields=row.fields,
                vector=vector,
                terms=passage_terms(words.counts, weighting),
            )
            for (row, vector), words in zip(pairs, analysed, strict=True)
        ]
        await self._lock.check()
        await target.store.upsert(target.index.id, points)

    async def _embed(self, target: Target, rows: Sequence[Restorable]) -> Left:
        if not rows:
            return {}
        if target.index.id not in self._without_model:
            try:
                return await self._embed_proved(target, rows)
            except EmbedderError as exc:
                self._without_model[target.index.id] = f"cannot be embedded again: {exc}"
        return dict.fromkeys((row.id for row in rows), self._without_model[target.index.id])

    async def _embed_proved(self, target: Target, rows: Sequence[Restorable]) -> Left:
        await prove(self._services, target, self._collection, self.run_id)
        texts = [indexed_text(row.context, row.text) for row in rows]
        weighting, analysed = await analysed_for(self._services, target, texts)
        made = await make_vectors(
            self._services,
            target,
            [_work(row) for row in rows],
            self.run_id,
            weighting=weighting,
            analysed=analysed,
        )
        if made.embedded:
            await prove(self._services, target, self._collection, self.run_id)
            await keep_vectors(self._services, target, made.fresh)
        await self._keep(target, {row.id: row for row in rows}, made)
        self._counts.chunks.embedded += made.embedded
        self._counts.chunks.reused += made.reused
        written = {point.chunk_id for point in made.points}
        return {
            row.id: f"cannot be embedded again: {made.refused[row.document_id]}"
            for row in rows
            if row.id not in written
        }

    async def _keep(self, target: Target, rows: Mapping[UUID, Restorable], made: Written) -> None:
        """Write new vectors; where one is the recorded one to the bit, its record stays."""
        new, counted, points = [], [], []
        for point, record, words in zip(made.points, made.records, made.analysed, strict=True):
            row = rows[point.chunk_id]
            same = row.stored_hash == record.stored_hash and row.run_id is not None
            points.append(replace(point, run_id=row.run_id) if same and row.run_id else point)
            if not same:
                new.append(record)
            if row.stored_hash is None:
                counted.append(words)
        await self._lock.check()
        await target.store.upsert(target.index.id, points)
        async with transaction(self._services.engine) as connection:
            await records.put(connection, new)
            await lexicons.add(connection, target.index.id, counted)


def _work(row: Restorable) -> Work:
    chunk = PlannedChunk(
        id=row.id,
        document_id=row.document_id,
        chunking=row.chunking,
        ordinal=row.ordinal,
        text=row.text,
        context=row.context,
        text_hash=row.text_hash,
        char_start=row.char_start,
        char_end=row.char_end,
        heading_path=row.heading_path,
        page=row.page,
        tokens=row.tokens,
    )
    return Work(chunk=chunk, fields=row.fields)
