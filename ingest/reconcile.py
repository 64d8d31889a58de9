"""Is what the stores hold what the catalog says they hold? And, where wished, making it so.

Catalog and store cannot change in one transaction, and either can be damaged or restored alone. So
both are read side by side, in the order of ids; what differs is looked at once more and named. A
repair is made only where the outcome can be proved, under the collection's lock.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from uuid import UUID

from ingest.reconcile_repair import Repair, repairing
from search_app.bootstrap import Services
from search_app.catalog import collections, indexes, lexicons, locks, models
from search_app.catalog.auditing import number_of_records
from search_app.catalog.engine import transaction
from search_app.consistency.disagreements import FAULTS, Finding, Kind
from search_app.consistency.inspecting import BATCH, inspect
from search_app.errors import InvalidInputError
from search_app.lexical import VERSION
from search_app.types import JSON, Collection, Index, IndexState

KEPT_FINDINGS = 1000
"""Most findings of an index that a report tells one by one; all are counted."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """A finding, and what was done about it; ``left`` says why nothing was."""

    finding: Finding
    repaired: bool = False
    left: str | None = None


@dataclass(kw_only=True)
class IndexReport:
    """What was found in one index. ``lexicon`` says what is wrong with the words, if anything."""

    index: Index
    collection: str
    model: str
    records: int = 0
    points: int = 0
    found: Counter[Kind] = field(default_factory=Counter)
    repaired: Counter[Kind] = field(default_factory=Counter)
    told: list[Told] = field(default_factory=list)
    lexicon: str | None = None
    lexicon_repaired: bool = False
    seconds: float = 0.0

    @property
    def faults(self) -> int:
        """Count the faults that are left."""
        left = sum(self.found[kind] - self.repaired[kind] for kind in FAULTS)
        return left + (self.lexicon is not None and not self.lexicon_repaired)

    def as_json(self) -> dict[str, JSON]:
        """Give the report of the index as ``--json`` prints it."""
        return {
            "index_id": str(self.index.id),
            "collection": self.collection,
            "model": self.model,
            "store": self.index.store,
            "state": self.index.state.value,
            "records": self.records,
            "points": self.points,
            "found": {kind.value: self.found[kind] for kind in Kind},
            "repaired": {kind.value: self.repaired[kind] for kind in FAULTS},
            "lexicon": self.lexicon,
            "lexicon_repaired": self.lexicon_repaired,
            "findings": [
                {
                    "chunk_id": str(told.finding.chunk_id),
                    "kind": told.finding.kind.value,
                    "detail": told.finding.detail,
                    "repaired": told.repaired,
                    "left": told.left,
                }
                for told in self.told
            ],
            "faults": self.faults,
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True, kw_only=True)
class ReconcileReport:
    """What was found in all indexes looked at; ``writing``: collections that a run wrote to."""

    indexes: Sequence[IndexReport]
    writing: Sequence[str]
    runs: Mapping[str, UUID]

    @property
    def faults(self) -> int:
        """Count the faults that are left."""
        return sum(report.faults for report in self.indexes)

    def as_json(self) -> dict[str, JSON]:
        """Give the report as ``ingest reconcile --json`` prints it."""
        return {
            "faults": self.faults,
            "indexes": [report.as_json() for report in self.indexes],
            "writing": list(self.writing),
            "runs": {name: str(run_id) for name, run_id in self.runs.items()},
        }


async def reconcile(
    services: Services,
    *,
    collection: str | None = None,
    index: str | None = None,
    repair: bool = False,
    waiting: Callable[[str], None] = lambda _: None,
) -> ReconcileReport:
    """Compare catalog and stores, of all collections or one, or of one index.

    ``index`` is an id or the beginning of one. A repair waits for the runs of a collection, and
    is a run itself; ``waiting`` is told of which collection it waits for.

    Raises:
        NotFoundError: there is no such collection or index.
        InvalidInputError: the index is retired, so that nothing is kept of it.
        StoreError: a store cannot be reached, which says nothing of what is in it.
        CatalogError: likewise for the catalog.
    """
    reports: list[IndexReport] = []
    writing: list[str] = []
    run_ids: dict[str, UUID] = {}
    for known, chosen in await _chosen(services, collection, index):
        if repair:
            async with repairing(services, known, lambda: waiting(known.name)) as work:  # noqa: B023 - called at once
                run_ids[known.name] = work.run_id
                for each in chosen:
                    reports.append(await _examined(services, known, each, work, writing=False))
                    work.note(reports[-1].found, reports[-1].repaired)
            continue
        busy = await _is_written_to(services, known)
        reports += [await _examined(services, known, each, None, writing=busy) for each in chosen]
        # A run may have begun since, and then what was found may be its work under way.
        if busy or await _is_written_to(services, known):
            writing.append(known.name)
    return ReconcileReport(indexes=reports, writing=writing, runs=run_ids)


async def _chosen(
    services: Services, collection: str | None, index: str | None
) -> list[tuple[Collection, list[Index]]]:
    async with transaction(services.engine) as connection:
        if collection is None:
            summaries = await collections.summaries(connection)
            known = [Collection(id=each.id, name=each.name) for each in summaries]
        else:
            known = [await collections.get(connection, collection)]
        if index is None:
            # What an index that is being built lacks is no fault; whoever asks can name it.
            return [
                (
                    each,
                    [
                        kept
                        for kept in await indexes.live(connection, each)
                        if kept.state is not IndexState.BUILDING
                    ],
                )
                for each in known
            ]
        found = await indexes.find(connection, index)
    for each in known:
        if each.id == found.collection_id:
            if found.state is IndexState.RETIRED:
                raise InvalidInputError(
                    f"index {str(found.id)[:8]} is retired; nothing of it is kept"
                )
            return [(each, [found])]
    raise InvalidInputError(f"index {str(found.id)[:8]} is not of collection {collection!r}")


async def _is_written_to(services: Services, collection: Collection) -> bool:
    async with transaction(services.engine) as connection:
        return not await locks.try_to_write(connection, collection)


async def _examined(
    services: Services,
    collection: Collection,
    index: Index,
    repair: Repair | None,
    *,
    writing: bool,
) -> IndexReport:
    began = time.perf_counter()
    async with transaction(services.engine) as connection:
        version = await models.get(connection, index.model_version_id)
    report = IndexReport(index=index, collection=collection.name, model=version.name)
    store = services.store(index.store)
    parts = inspect(services.engine, index, store, writing=writing)
    async with aclosing(parts):
        async for part in parts:
            report.records += part.records
            report.points += part.points
            for start in range(0, len(part.findings), BATCH):
                await _tell(report, part.findings[start : start + BATCH], repair)
    await _look_at_words(services, report, repair, writing=writing)
    report.seconds = time.perf_counter() - began
    return report


async def _tell(report: IndexReport, found: Sequence[Finding], repair: Repair | None) -> None:
    left = {}
    if repair is not None and found:
        left = await repair.mend(report.index, found)
    for finding in found:
        report.found[finding.kind] += 1
        reason = left.get(finding.chunk_id)
        mended = repair is not None and reason is None and finding.kind is not Kind.UNFINISHED
        if mended:
            report.repaired[finding.kind] += 1
        if len(report.told) < KEPT_FINDINGS:
            report.told.append(Told(finding=finding, repaired=mended, left=reason))


async def _look_at_words(
    services: Services, report: IndexReport, repair: Repair | None, *, writing: bool
) -> None:
    """Compare what keyword search counts with how many passages there are."""
    index = report.index
    async with transaction(services.engine) as connection:
        known = await lexicons.get(connection, index.id)
        records = await number_of_records(connection, index.id)
    if known is None:
        report.lexicon = "its passages have no words yet" if records else None
    elif not known.complete or known.weighting.version != VERSION:
        report.lexicon = "not all of its passages have words yet"
    elif known.passages != records:
        report.lexicon = f"words are counted in {known.passages:,} passages, of {records:,}"
    if report.lexicon is not None and writing:
        # Under way, most likely; counts and records themselves change in one transaction.
        report.lexicon = None
    if report.lexicon is not None and repair is not None:
        await repair.recount(index)
        report.lexicon_repaired = True
