"""Writing what was read: catalog rows as pending, vectors in proved segments, then the flip.

The order makes a crash at any moment harmless. Pending rows are committed first; vectors are
embedded, and the model proves itself once more, before any of them reaches a store; records and
the new form of the documents are committed together; only then do the old chunks go.

While one segment is proved and written, the next one is read and embedded; never more than that.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field, replace
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from ingest.embedding import Seeker, Sought, Work, Written, keep_vectors
from ingest.opening import OpenSource
from ingest.plan import PlannedChunk, PlannedDocument
from ingest.reading import Reading
from ingest.removal import drop_chunks, drop_unshown, remove_documents, remove_unseen
from ingest.report import KEPT_FAILURES, Counts, Progress
from ingest.rows import chunk_row, document_row, finished_row, place_row
from ingest.targets import Target, prove
from ingest.terms import analysed_for
from search_app.bootstrap import Services
from search_app.catalog import chunks, documents, history, lexicons, records, runs, sources
from search_app.catalog.chunks import indexed_text
from search_app.catalog.documents import KnownDocument
from search_app.catalog.engine import retried, transaction
from search_app.catalog.history import NewEvent
from search_app.catalog.locks import WritingLock
from search_app.embedders.base import Embedder
from search_app.embedders.batching import GRACE_S
from search_app.embedders.metering import Meter
from search_app.errors import (
    EmbedderResponseError,
    ModelMismatchError,
    SourceError,
    SpentUpError,
    UnmovedError,
)
from search_app.filters import passage_fields, with_suggested
from search_app.types import Collection, Failure, IndexState

SEGMENT = 512
"""Chunks embedded between two proofs, by one at a time; a crash repeats two such at most."""

_FULL = 64
"""Texts on their way while a request is worked on, for which a segment is as long again."""

_LONGEST = 4
"""How many times as long it may be."""

_SALVAGE_S = 30.0
"""How long a proof may take once a run failed, so that what was paid for can be kept."""


def segment_size(embedder: Embedder) -> int:
    """Say how many chunks to embed between two proofs.

    Where many travel at once a segment takes hardly longer than its proof, and is made longer.
    """
    travelling = embedder.batch_size * (embedder.concurrency - 1)
    return SEGMENT * min(max(travelling // _FULL, 1), _LONGEST)


TAKEN = "its name is that of a record of another file; rename it"


@dataclass(frozen=True, kw_only=True)
class Change:
    """A document that is new or changed, and what has to happen to its chunks."""

    source: OpenSource
    document: PlannedDocument
    earlier: KnownDocument | None
    kept: frozenset[UUID]
    outdated: frozenset[UUID]


@dataclass(kw_only=True)
class Segment:
    """Work gathered until there is enough of it to prove and write; by index."""

    works: dict[UUID, list[Work]] = field(default_factory=lambda: defaultdict(list))
    """What is not sent yet."""
    lots: dict[UUID, list[Sought]] = field(default_factory=lambda: defaultdict(list))
    sending: list[asyncio.Task[None]] = field(default_factory=list)
    complete: list[Change] = field(default_factory=list)
    """Documents of which no chunk waits for a later segment."""
    finished: list[OpenSource] = field(default_factory=list)
    kept: set[UUID] = field(default_factory=set)
    """Indexes whose vectors are proved, and kept beyond this run."""

    def size(self, index_id: UUID) -> int:
        """Count the chunks that an index gets."""
        return len(self.works[index_id]) + sum(len(lot.works) for lot in self.lots[index_id])


class Writer:
    """Takes readings and brings them into catalog and stores."""

    def __init__(
        self,
        *,
        services: Services,
        collection: Collection,
        run_id: UUID,
        targets: Sequence[Target],
        progress: Progress,
        lock: WritingLock,
        meter: Meter | None = None,
        family: AbstractSet[UUID] = frozenset(),
    ) -> None:
        """Write for a run that has been started; ``meter`` counts what its targets send.

        ``family`` are runs whose work counts with this one's: what they met is not counted again.
        """
        self._services = services
        self._engine = services.engine
        self._collection = collection
        self._run_id = run_id
        self.targets = targets
        self._progress = progress
        self._lock = lock
        self._segment = Segment()
        self._seekers = {target.index.id: Seeker(services, target, run_id) for target in targets}
        self._leaving: Segment | None = None
        """The segment that is proved and written now."""
        self._bringing_in: asyncio.Task[None] | None = None
        # What is counted and committed together, nobody else commits in between.
        self._counting = asyncio.Lock()
        self._failing = asyncio.Lock()
        self._failures_written = 0
        self._proved: set[UUID] = set()
        self._refused: dict[UUID, str] = {}
        self._family = family
        self.meter = meter or targets[0].embedder.meter
        """Counts what the targets send, all of them."""
        self.counts = Counts(sent=self.meter.sent, currency=services.prices.currency)
        """What this writer did itself."""
        self.others = Counts()
        """What others did for the same run, as whoever made this writer knows."""
        self.failures: list[Failure] = []
        self.warnings: list[str] = []
        self.stopped: str | None = None
        """Why the run ended before all was in; None where it did not."""

    async def write(self, reading: Reading) -> None:
        """Take in one stretch; sends what fills requests, and writes whenever a segment is full.

        Raises:
            UnmovedError: what goes on beside it failed; ``give_up`` comes next.
        """
        await self._note_seen(reading)
        await self._fail(reading.failures)
        known = await self._known(reading)
        own = await self._own(reading.documents, known)
        changes = await self._changes(own, known)
        changes = await self._put_pending(changes)
        missing = await self._missing(changes)
        for change in changes:
            await self._gather(change, missing)
        for source in reading.exhausted:
            source.exhausted = True
            self._progress.read(uri=source.uri, size=source.size)
            if source.outstanding == 0:
                self._segment.finished.append(source)
        if len(self._segment.complete) + len(self._segment.finished) >= SEGMENT:
            await self.flush()
        else:
            await self._send(self._segment, last=False)
        self._raise_failed()

    async def flush(self) -> None:
        """Send the rest of the segment gathered, and begin to prove and write it.

        Waits until the one before is in.

        Raises:
            SpentUpError: money was enough for a part of it only, which is in.
            UnmovedError: as ``write`` does.
        """
        segment = self._segment
        await self._send(segment, last=True)
        await self.settle()
        self._segment, self._leaving = Segment(), segment
        self._bringing_in = asyncio.create_task(self._bring_in(segment))
        if self.meter.money is not None:
            # Only then is it known what may be spent.
            await self.settle()

    async def settle(self) -> None:
        """Wait until the segment that is proved and written is in.

        Raises:
            SpentUpError: not all of it could be paid.
            UnmovedError: it could not be embedded, proved or written.
        """
        bringing_in, self._bringing_in = self._bringing_in, None
        if bringing_in is not None:
            await bringing_in

    async def give_up(self, failure: UnmovedError) -> None:
        """Send nothing more, and keep what was paid for, if the model proves itself.

        A segment that was sent before what failed still comes in.
        """
        failures: list[BaseException | None] = [failure]
        _stop(self._segment)
        try:
            await self.settle()
        except UnmovedError as exc:
            failures.append(exc)
        segments = [each for each in (self._leaving, self._segment) if each is not None]
        for segment in segments:
            _stop(segment)
            if segment.sending:
                await asyncio.wait(segment.sending, timeout=GRACE_S)
            failures += await _cancelled(segment.sending)
        if any(isinstance(each, ModelMismatchError | EmbedderResponseError) for each in failures):
            # Whose vectors came last is not known.
            return
        for segment in segments:
            with suppress(UnmovedError, TimeoutError):
                async with asyncio.timeout(_SALVAGE_S):
                    await self._keep_paid(segment)

    async def stop(self) -> None:
        """Leave nothing running that was begun here."""
        segments = [each for each in (self._leaving, self._segment) if each is not None]
        tasks = [task for segment in segments for task in segment.sending]
        if self._bringing_in is not None:
            tasks.append(self._bringing_in)
        await _cancelled(tasks)
        self._segment, self._leaving, self._bringing_in = Segment(), None, None

    async def _send(self, segment: Segment, *, last: bool) -> None:
        """Look for vectors of what was gathered, and embed the others beside whatever comes next.

        Unless it is the ``last`` of the segment, only as much as fills requests. Where money is
        limited, all is sent at the end, since what may be spent is known only then.
        """
        limited = self.meter.money is not None
        for target in self.targets:
            works = segment.works[target.index.id]
            size = target.embedder.batch_size
            number = len(works) if last else 0 if limited else len(works) // size * size
            if not number:
                continue
            if target.index.id not in self._proved:
                await self.prove(target)
            seeker = self._seekers[target.index.id]
            lot = await seeker.find(works[:number])
            del works[:number]
            segment.lots[target.index.id].append(lot)
            sending = asyncio.create_task(seeker.send(lot))
            segment.sending.append(sending)
            if limited:
                await sending

    def _raise_failed(self) -> None:
        """Raise what failed beside this.

        Raises:
            UnmovedError: something did.
        """
        for task in (*self._segment.sending, self._bringing_in):
            if task is not None and task.done():
                task.result()

    async def _bring_in(self, segment: Segment) -> None:
        """Prove and write a segment once it is embedded, and show what is complete with it."""
        terms = {
            target.index.id: await analysed_for(self._services, target, _texts(lots))
            for target in self.targets
            if (lots := segment.lots[target.index.id])
        }
        await asyncio.gather(*segment.sending)
        written: dict[UUID, Written] = {}
        for target in self.targets:
            if target.index.id not in terms:
                continue
            await self._keep_paid_of(segment, target)
            lots = segment.lots[target.index.id]
            weighting, analysed = terms[target.index.id]
            made = self._seekers[target.index.id].written(
                lots, weighting=weighting, analysed=analysed
            )
            self._refused.update(made.refused)
            await self._lock.check()
            await target.store.upsert(target.index.id, made.points)
            written[target.index.id] = made
        await self._lock.check()
        waiting = {document for made in written.values() for document in made.waiting}
        # They stay pending, and so do their sources: the next run finishes them.
        segment.complete = [
            change for change in segment.complete if change.document.id not in waiting
        ]
        refused = await self._set_aside_refused(segment)
        await self._update_fields(segment.complete)
        await self._show(segment, written)
        await self._drop_refused(refused)
        await self._sweep(segment)
        for target in self.targets:
            self._seekers[target.index.id].forget(segment.lots[target.index.id])
        self._leaving = None
        if waiting:
            raise SpentUpError(f"no money is left for {len(waiting):,} documents")

    async def _keep_paid(self, segment: Segment) -> None:
        for target in self.targets:
            await self._keep_paid_of(segment, target)

    async def _keep_paid_of(self, segment: Segment, target: Target) -> None:
        """Keep what was embedded for texts that come again, once the model has proved itself."""
        lots = segment.lots[target.index.id]
        for lot in lots:
            self.meter.release(lot.held)
            lot.held = 0.0
        embedded = [made for lot in lots for made in lot.embedded]
        if embedded and target.index.id not in segment.kept:
            await self.prove(target)
            await keep_vectors(self._services, target, embedded)
            segment.kept.add(target.index.id)

    async def check(self) -> None:
        """Return if nobody else may be writing.

        Raises:
            CatalogUnavailableError: the lock was lost.
        """
        await self._lock.check()

    def total(self) -> Counts:
        """Add up what this writer did and what others did for the same run."""
        total = Counts(skipped=self.counts.skipped, currency=self.counts.currency)
        total.add(self.counts.as_json())
        total.add(self.others.as_json())
        return total

    async def prove(self, target: Target) -> None:
        """Make the model of a target prove itself; a new build of it is a warning, once.

        Raises:
            EmbedderError: it does not answer, or is another model.
        """
        warning = await prove(self._services, target, self._collection, self._run_id)
        self._proved.add(target.index.id)
        if warning is not None and warning not in self.warnings:
            self.warnings.append(warning)
            self._progress.warned(warning)

    async def fail(self, failures: Iterable[Failure]) -> None:
        """Record that sources or records could not be ingested."""
        new = list(failures)
        async with self._failing:
            async with transaction(self._engine) as connection:
                await runs.add_errors(connection, self._run_id, self._failures_written, new)
            self._failures_written += len(new)
        self.counts.documents.failed += len(new)
        self.failures.extend(new[: max(0, KEPT_FAILURES - len(self.failures))])
        for failure in new:
            self._progress.failed(failure)

    async def _fail(self, failures: Sequence[tuple[OpenSource | None, SourceError]]) -> None:
        for source, error in failures:
            if source is not None:
                source.failures += 1
                source.first_reason = source.first_reason or error.reason
        if failures:
            await self.fail(
                Failure(source=error.source, reason=error.reason) for _, error in failures
            )

    async def _set_aside_refused(self, segment: Segment) -> list[Change]:
        """Fail the documents that the embedder would not take."""
        refused = [change for change in segment.complete if change.document.id in self._refused]
        segment.complete = [
            change for change in segment.complete if change.document.id not in self._refused
        ]
        await self._fail(
            [
                (change.source, SourceError(change.document.uri, self._refused[change.document.id]))
                for change in refused
            ]
        )
        for change in refused:
            change.source.outstanding -= 1
            segment.finished.append(change.source)
        return refused

    async def _drop_refused(self, refused: Sequence[Change]) -> None:
        """Take away what was written of them; what they were before stays."""
        if not refused:
            return
        new = [change.document.id for change in refused if _is_new(change)]
        await remove_documents(self._services, self.targets, new, self._run_id, Counts())
        known = [change.document.id for change in refused if not _is_new(change)]
        await drop_unshown(self._services, self.targets, known)

    async def _note_seen(self, reading: Reading) -> None:
        async with self._counting:
            self.counts.documents.unchanged += sum(
                source.seen_by not in self._family for source in reading.unchanged
            )
            self.counts.skip(reading.skipped)
            async with transaction(self._engine) as connection:
                # With it, so that of a run that is cut short nothing is counted twice or not at
                # all.
                await runs.set_counts(connection, self._run_id, self.total().as_json())
                await self._begin(connection, reading)
        for source in reading.unchanged:
            self._progress.read(uri=source.uri, size=source.size)

    async def _begin(self, connection: AsyncConnection, reading: Reading) -> None:
        await sources.mark_seen(
            connection, self._run_id, [source.id for source in reading.unchanged]
        )
        await sources.set_validators(
            connection,
            {source.id: source.validators for source in reading.unchanged if source.validators},
        )
        await sources.begin(
            connection,
            self._collection,
            self._run_id,
            [
                {
                    "id": source.id,
                    "uri": source.uri,
                    "reader": source.reader,
                    "options": source.options,
                    "root": source.root,
                    "validators": dict(source.validators),
                }
                for source in reading.opened
            ],
        )

    async def _known(self, reading: Reading) -> dict[str, KnownDocument]:
        async with transaction(self._engine) as connection:
            uris = [document.uri for _, document in reading.documents]
            return await documents.known(connection, self._collection, uris)

    async def _own(
        self,
        read: Sequence[tuple[OpenSource, PlannedDocument]],
        known: Mapping[str, KnownDocument],
    ) -> list[tuple[OpenSource, PlannedDocument]]:
        """Leave out documents whose uri belongs to another source: d.csv#1 may also be a file."""
        owners: dict[str, UUID] = {}
        own, refused = [], []
        for source, document in read:
            earlier = known.get(document.uri)
            owner = owners.setdefault(
                document.uri, source.id if earlier is None else earlier.source_id
            )
            if owner == source.id:
                own.append((source, document))
            else:
                refused.append((source, SourceError(document.uri, TAKEN)))
        await self._fail(refused)
        return own

    async def _changes(
        self,
        read: Sequence[tuple[OpenSource, PlannedDocument]],
        known: Mapping[str, KnownDocument],
    ) -> list[Change]:
        """Leave out documents that are in already as they are, and find out about the others."""
        changed = []
        unchanged = []
        counted = 0
        for source, document in read:
            earlier = known.get(document.uri)
            if earlier is not None and earlier.content_hash == document.content_hash:
                unchanged.append(document.id)
                counted += earlier.seen_run_id not in self._family
            else:
                changed.append((source, document, earlier))
        async with self._counting, transaction(self._engine) as connection:
            self.counts.documents.unchanged += counted
            if unchanged:
                await runs.set_counts(connection, self._run_id, self.total().as_json())
            await documents.mark_seen(connection, self._run_id, unchanged)
            there = await chunks.ids_by_document(
                connection, [document.id for _, document, _ in changed]
            )
        return [
            _change(source, document, earlier, there.get(document.id, set()))
            for source, document, earlier in changed
        ]

    async def _put_pending(self, changes: list[Change]) -> list[Change]:
        """Note what is to come; leave out what another worker has noted for another source."""
        if not changes:
            return changes

        async def put(connection: AsyncConnection) -> list[Change]:
            await documents.put_pending(
                connection,
                self._collection,
                [document_row(change.document, self._run_id) for change in changes],
            )
            owners = await documents.owners(connection, [change.document.id for change in changes])
            own = [change for change in changes if owners[change.document.id] == change.source.id]
            await chunks.put_pending(
                connection,
                [
                    chunk_row(chunk)
                    for change in own
                    for chunk in _all_chunks(change.document)
                    if chunk.id not in change.kept
                ],
            )
            return own

        own = await retried(self._engine, put)
        kept = {change.document.id for change in own}
        await self._fail(
            [
                (change.source, SourceError(change.document.uri, TAKEN))
                for change in changes
                if change.document.id not in kept
            ]
        )
        return own

    async def _missing(self, changes: Sequence[Change]) -> dict[UUID, set[UUID]]:
        """Say for each index which chunks have no vector there yet."""
        missing = {}
        async with transaction(self._engine) as connection:
            for target in self.targets:
                name = target.index.chunking.name
                planned = {chunk.id for change in changes for chunk in change.document.chunks[name]}
                there = await records.embedded(connection, target.index.id, list(planned))
                missing[target.index.id] = planned - there
                self.counts.chunks.reused += len(there)
        self._progress.planned(sum(len(chunk_ids) for chunk_ids in missing.values()))
        return missing

    async def _gather(self, change: Change, missing: Mapping[UUID, set[UUID]]) -> None:
        """Add a document's missing vectors to the segment, flushing as often as it fills."""
        change.source.outstanding += 1
        for target in self.targets:
            index_id = target.index.id
            for chunk in change.document.chunks[target.index.chunking.name]:
                if chunk.id in missing[index_id]:
                    fields = passage_fields(change.document.fields, chunk.fields)
                    work = Work(chunk=chunk, fields=fields)
                    self._segment.works[index_id].append(work)
                    if self._segment.size(index_id) >= segment_size(target.embedder):
                        await self.flush()
        self._segment.complete.append(change)

    async def _update_fields(self, complete: Sequence[Change]) -> None:
        """Bring the filter fields of vectors that stay up to date with their documents."""
        changed = [
            change
            for change in complete
            if change.earlier is not None
            and (
                # Cut short after this step, the store has fields that the catalog has not.
                change.earlier.content_hash is None
                or change.earlier.fields != change.document.fields
                # Passages of source code have fields of their own, which may be others now.
                or "symbol" in change.document.fields
            )
        ]
        if not changed:
            return
        for target in self.targets:
            name = target.index.chunking.name
            await target.store.update_fields(
                target.index.id,
                {
                    chunk.id: passage_fields(change.document.fields, chunk.fields)
                    for change in changed
                    for chunk in change.document.chunks[name]
                },
            )

    async def _show(self, segment: Segment, written: Mapping[UUID, Written]) -> None:
        """Commit records and the new form of complete documents: the moment of the change."""

        async def show(connection: AsyncConnection) -> None:
            for made in written.values():
                await records.put(connection, made.records)
            await documents.complete(
                connection,
                [document_row(change.document, self._run_id) for change in segment.complete],
            )
            await history.add(
                connection,
                self._collection,
                [self._event(change) for change in segment.complete],
                self._run_id,
            )
            await chunks.make_live(
                connection,
                [
                    place_row(chunk)
                    for change in segment.complete
                    for chunk in _all_chunks(change.document)
                ],
            )
            await chunks.begin_deleting(
                connection, [gone for change in segment.complete for gone in change.outdated]
            )
            await runs.set_counts(connection, self._run_id, self.total().as_json())
            # Last, because others wait for the counts of words from here to the end.
            for index_id in sorted(written):
                await lexicons.add(connection, index_id, written[index_id].analysed)

        async with self._counting:
            self._count(segment, written)
            await retried(self._engine, show)

    def _count(self, segment: Segment, written: Mapping[UUID, Written]) -> None:
        for made in written.values():
            self.counts.chunks.embedded += made.embedded
            self.counts.chunks.reused += made.reused
            self._progress.written(embedded=made.embedded, reused=made.reused)
        for change in segment.complete:
            change.source.outstanding -= 1
            if _is_new(change):
                self.counts.documents.added += 1
            else:
                self.counts.documents.updated += 1

    def _event(self, change: Change) -> NewEvent:
        document = change.document
        # As it is shown: other indexes may cut it in another way.
        shown = next(
            (each for each in self.targets if each.index.state is IndexState.ACTIVE),
            self.targets[0],
        )
        return NewEvent(
            document_id=document.id,
            uri=document.uri,
            title=document.title,
            event="added" if _is_new(change) else "updated",
            chunks=len(document.chunks[shown.index.chunking.name]),
        )

    async def _sweep(self, segment: Segment) -> None:
        """Remove what the change left behind, and close the sources that are done."""
        outdated = [gone for change in segment.complete for gone in change.outdated]
        if outdated:
            await drop_chunks(self._services, self.targets, outdated)
            self.counts.chunks.removed += len(outdated)
        done = {
            source.id: source
            for source in (*segment.finished, *(change.source for change in segment.complete))
            if source.exhausted and source.outstanding == 0 and not source.closed
        }
        await self._close(list(done.values()))

    async def _close(self, finished: Sequence[OpenSource]) -> None:
        # Only of a source that was read whole can it be said what it no longer has.
        whole = [source.id for source in finished if source.failures == 0]
        await remove_unseen(self._services, self.targets, whole, self._run_id, self.counts)
        async with transaction(self._engine) as connection:
            await sources.finish(connection, [finished_row(source) for source in finished])
        for source in finished:
            source.closed = True


def _texts(lots: Sequence[Sought]) -> list[str]:
    works = (work for lot in lots for work in lot.works)
    return [indexed_text(work.chunk.context, work.chunk.text) for work in works]


def _stop(segment: Segment) -> None:
    for lots in segment.lots.values():
        for lot in lots:
            lot.answers.stopped = True


async def _cancelled(tasks: Sequence[asyncio.Task[None]]) -> list[BaseException | None]:
    """End tasks, and give what each one failed with."""
    for task in tasks:
        task.cancel()
    return await asyncio.gather(*tasks, return_exceptions=True)


def _is_new(change: Change) -> bool:
    return change.earlier is None or change.earlier.state == "pending"


def _change(
    source: OpenSource,
    document: PlannedDocument,
    earlier: KnownDocument | None,
    there: set[UUID],
) -> Change:
    planned = {chunk.id for chunk in _all_chunks(document)}
    if earlier is not None:
        document = replace(document, fields=with_suggested(document.fields, earlier.fields))
    return Change(
        source=source,
        document=document,
        earlier=earlier,
        kept=frozenset(planned & there),
        outdated=frozenset(there - planned),
    )


def _all_chunks(document: PlannedDocument) -> Iterable[PlannedChunk]:
    return (chunk for planned in document.chunks.values() for chunk in planned)
