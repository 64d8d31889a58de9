"""A whole check: every layer in turn, and what is kept of it.

Nothing but references is written before the end, so a check that is killed leaves nothing half.
"""

import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

import numpy as np
from sqlalchemy import text

from search_app import declared
from search_app.bootstrap import Services
from search_app.catalog import locks, sampling
from search_app.catalog.engine import reading, transaction
from search_app.catalog.references import Reference
from search_app.consistency import canaries, documents, integrity, lists
from search_app.consistency import references as setting
from search_app.consistency.answers import asked_again
from search_app.consistency.asking import Asker
from search_app.consistency.causes import explain
from search_app.consistency.documents import Again
from search_app.consistency.evidence import Evidence
from search_app.consistency.hypotheses import Trial, hypotheses, plausible, try_out
from search_app.consistency.integrity import Values
from search_app.consistency.keeping import keep
from search_app.consistency.lists import Asked, Compared
from search_app.consistency.ranking import BEYOND
from search_app.consistency.settling import settle
from search_app.consistency.spaces import compare_spaces
from search_app.consistency.streaming import Neighbours, neighbours
from search_app.consistency.subject import CheckRequest, Subject, load
from search_app.consistency.summing import (
    canary_symptoms,
    fault_symptoms,
    list_symptoms,
    reported,
    summed_lists,
    with_worst,
)
from search_app.consistency.symptoms import Sample, Symptoms
from search_app.consistency.types import CheckReport, Integrity, Layers, Spent
from search_app.consistency.values import shared_format
from search_app.consistency.verdict import Facts
from search_app.embedders.metering import Allowance
from search_app.errors import (
    CheckUnderWayError,
    EmbedderError,
    InvalidInputError,
    SpentUpError,
    StoreError,
)
from search_app.identity import Outcome, Proof
from search_app.prices import is_free
from search_app.stages import stage
from search_app.types import Index, Matrix, ModelVersion

PAID_QUERIES = 43
"""Queries of a night; when none changed, at most 6.7 % did."""

FREE_QUERIES = 299
"""Likewise where asking costs nothing but time: at most 1 % did."""

REPEATED = 20
"""Queries sent twice."""

DOCUMENTS = 8
"""Passages embedded again; of a tenth with wrong vectors, at least one in 57 of 100 nights."""

FREE_DOCUMENTS = 64
"""Likewise where that costs nothing but time; in 999 of 1,000."""

SUSPECTS = 4
"""Passages with altered vectors that are embedded again beside those."""

RECALLED = 20
"""Queries that the approximate index is asked for too."""

Result = TypeVar("Result")


@dataclass(kw_only=True)
class Night:
    """What a check has found so far; ``k`` is the length of the lists that it compares."""

    seed: int
    k: int
    layers: Layers = field(default_factory=Layers)
    symptoms: Symptoms = field(default_factory=Symptoms)
    unreachable: list[str] = field(default_factory=list)
    not_checked: list[str] = field(default_factory=list)
    compared: Sequence[Compared] = ()
    proof: Proof | None = None
    flagged: set[UUID] = field(default_factory=set)

    @property
    def noise(self) -> float:
        """The largest 1 - cos seen between sends of a canary tonight."""
        seen = self.layers.canaries
        return (seen.noise or 0.0) if seen is not None else 0.0

    async def tried(self, layer: str, work: Awaitable[Result]) -> Result | None:
        """Do the work of a layer; where it cannot be done, take note of it and go on."""
        try:
            return await work
        except SpentUpError as exc:
            self.not_checked.append(f"{layer}: {exc}")
        except (EmbedderError, StoreError) as exc:
            self.unreachable.append(f"{layer} could not be checked: {exc}")
            self.not_checked.append(f"{layer}: {exc}")
        return None


async def check(services: Services, request: CheckRequest) -> CheckReport:
    """Check the index that answers searches of a collection, or another one that is kept.

    Raises:
        InvalidInputError: the request cannot be meant.
        CheckUnderWayError: another check of the index has not ended.
        NotFoundError: there is no such collection or index.
        CatalogError: the catalog cannot be reached.
    """
    with stage("check") as told:
        report = await _checked(services, request)
        told |= {
            "check_id": str(report.check_id),
            "verdict": report.verdict.value,
            "texts": report.spent.texts,
            "tokens": report.spent.tokens,
        }
    return report


async def _checked(services: Services, request: CheckRequest) -> CheckReport:
    began, started = time.perf_counter(), datetime.now(UTC)
    subject = await load(services, request)
    async with _alone(services, subject.index):
        night = Night(
            seed=secrets.randbits(31) if request.seed is None else request.seed, k=request.k
        )
        price = services.price(subject.version.spec)
        asker = Asker(
            services.embedder(subject.version.spec),
            subject.version.identity.dimensions,
            services.tokens,
            allowance(request, subject.version, None if price is None else price.amount),
        )
        subject = await _look(services, request, subject, asker, night)
        answers = await asked_again(
            services, subject, free=asker.is_free, not_checked=night.not_checked
        )
        layers = await with_worst(services.engine, night.layers, night.compared, request.k)
        facts = Facts(
            layers=layers,
            proved=night.symptoms.proved,
            drift=Evidence(),
            reproducibility=Evidence(),
            baseline=subject.baseline,
            unreachable=night.unreachable,
            fail_on_noisy=request.fail_on_noisy,
        )
        report = reported(
            request,
            subject,
            facts,
            causes=explain(night.symptoms),
            not_checked=night.not_checked,
            spent=Spent(
                texts=asker.meter.sent.texts,
                tokens=asker.meter.sent.tokens,
                cost=0.0 if asker.is_free else asker.embedder.cost(asker.meter.sent.tokens),
            ),
            seed=night.seed,
            started=started,
            seconds=time.perf_counter() - began,
        )
        report = replace(report, answers=answers)
        sends = {each.asked.reference.id: each.asked.tonight for each in night.compared}
        await keep(services.engine, subject, report, sends)
    return report


def allowance(request: CheckRequest, version: ModelVersion, price: float | None) -> Allowance:
    """Give what a check may send.

    Raises:
        InvalidInputError: money is to be limited, and nobody said what a token costs.
    """
    if is_free(version.spec):
        return Allowance(texts=request.most_texts)
    if request.budget is not None and price is None:
        raise InvalidInputError(
            f"what {version.spec} costs is not known; set UNMOVED_EMBEDDING_PRICE to the price of "
            "a million tokens, name it in the file of UNMOVED_PRICES, or limit texts with "
            "--max-texts"
        )
    return Allowance(texts=request.most_texts, money=request.budget, price=price)


@asynccontextmanager
async def _alone(services: Services, index: Index) -> AsyncIterator[None]:
    """Be the only check of an index; the lock ends with its transaction, or its connection."""
    async with transaction(services.engine) as connection:
        statement = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:name, 0))")
        if not await connection.scalar(statement, {"name": f"check {index.id}"}):
            raise CheckUnderWayError(
                f"another check of index {str(index.id)[:8]} is under way; wait for it"
            )
        yield


async def _look(
    services: Services, request: CheckRequest, subject: Subject, asker: Asker, night: Night
) -> Subject:
    """Go through all layers, the cheapest first; gives the subject with references set."""
    faults = await night.tried("integrity", _faults(services, subject, asker, night))
    subject, answered = await _verified(services, request, subject, asker, night)
    began = time.perf_counter()
    seen = None
    if answered:
        look = canaries.look(asker, subject.version, subject.canaries)
        seen = await night.tried("canaries", look)
    if seen is not None:
        found, night.proof = seen
        night.layers = replace(night.layers, canaries=found)
        night.symptoms = canary_symptoms(night.symptoms, found, subject.version.noise_floor)
        await settle(
            services.engine,
            subject.version.id,
            night.proof.outcome,
            seconds=time.perf_counter() - began,
        )
    if faults is not None:
        night.flagged = {chunk_id for fault in faults.faults for chunk_id in fault.ids}
    asked: Sequence[Asked] = []
    again = None
    if await _answers_as_wide(subject, asker, night):
        subject = await _with_references(services, request, subject, asker, night)
        asked = await night.tried("queries", _asked(subject, asker, night)) or []
        again = await night.tried("passages", _embedded_again(services, subject, asker, night))
    known = [each.vector for each in subject.canaries]
    usual = np.array(known, np.float32).reshape(-1, subject.version.identity.dimensions)
    values = Values(usual=shared_format(usual))
    near = await night.tried("stored vectors", _streamed(subject, asked, again, request.k, values))
    if near is not None:
        if faults is not None:
            _note_faults(night, replace(faults, faults=[*faults.faults, *values.found()]), values)
        await _compare(subject, asker, night, asked, near)
        _look_at_passages(night, again, near)
        await night.tried("causes", _explore(services, subject, asker, night, again))
    elif faults is not None:
        _note_faults(night, faults, values)
    return subject


async def _verified(
    services: Services, request: CheckRequest, subject: Subject, asker: Asker, night: Night
) -> tuple[Subject, bool]:
    """Have a model that was only declared verify its vectors, before its canaries are asked.

    Returns:
        The subject with what was observed of it, and whether the model answered.
    """
    if not subject.version.unverified:
        return subject, True
    work = declared.proved(services.engine, asker.embedder, subject.version, ())
    proof = await night.tried("imported vectors", work)
    if proof is not None and proof.outcome is not Outcome.OTHER_MODEL:
        return await load(services, request), True
    night.unreachable.append(
        f"the vectors were imported as those of {subject.version.name}, which was never verified"
    )
    return subject, proof is not None


async def _answers_as_wide(subject: Subject, asker: Asker, night: Night) -> bool:
    """See that answers have the dimensions of the index; without that nothing can be compared."""
    size = subject.version.identity.dimensions
    if night.proof is None or {vector.shape for vector in night.proof.vectors.values()} == {
        (size,)
    }:
        return True
    answered = await night.tried(
        "dimensions", canaries.answered(asker, subject.version, subject.canaries)
    )
    if answered is None:
        return True
    night.symptoms = replace(night.symptoms, answered=answered)
    night.not_checked.append(
        f"queries and passages: vectors of {answered.dimensions} dimensions are answered, the "
        f"index has {size}"
    )
    return False


async def _faults(services: Services, subject: Subject, asker: Asker, night: Night) -> Integrity:
    async with transaction(services.engine) as connection:
        writing = not await locks.try_to_write(connection, subject.collection)
    found = await integrity.inspected(
        services.engine, subject.index, subject.store, writing=writing
    )
    texts = await integrity.texts_checked(
        services.engine, subject.index, subject.version, asker.embedder
    )
    night.symptoms = replace(night.symptoms, prefixed=texts.prefixed)
    more = [
        *await integrity.collapsed(services.engine, subject.index),
        *integrity.text_faults(texts),
    ]
    return replace(found, faults=[*found.faults, *more])


def _note_faults(night: Night, found: Integrity, values: Values) -> None:
    night.layers = replace(night.layers, integrity=found)
    night.symptoms = fault_symptoms(night.symptoms, found, values)
    night.flagged = {chunk_id for fault in found.faults for chunk_id in fault.ids}


async def _with_references(
    services: Services, request: CheckRequest, subject: Subject, asker: Asker, night: Night
) -> Subject:
    """Set references that are missing, while the model is proved unchanged."""
    if night.proof is None or night.proof.outcome is not Outcome.SAME:
        return subject
    work = setting.added(
        services.engine,
        asker,
        subject.index,
        subject.version,
        known=subject.references,
        golden=request.golden,
    )
    added = await night.tried("references", work)
    if added:
        night.not_checked.append(
            f"{added} new reference queries were set; they are compared from the next check on"
        )
    if not subject.references:
        night.not_checked.append("queries: there was nothing to compare with before this check")
    return subject


async def _asked(subject: Subject, asker: Asker, night: Night) -> list[Asked]:
    """Draw references uniformly and send them past every cache."""
    draw = np.random.default_rng(night.seed)
    wanted = FREE_QUERIES if asker.is_free else PAID_QUERIES
    number = min(wanted, len(subject.references))
    places = draw.permutation(len(subject.references))[:number].tolist()
    drawn: Sequence[Reference] = [subject.references[place] for place in places]
    return await lists.ask_once(asker, drawn, REPEATED)


async def _embedded_again(
    services: Services, subject: Subject, asker: Asker, night: Night
) -> Again:
    most = FREE_DOCUMENTS if asker.is_free else DOCUMENTS
    async with reading(services.engine) as connection:
        drawn = await sampling.draw(connection, subject.index.id, seed=night.seed, most=most)
        suspects = sorted(night.flagged - {each.chunk_id for each in drawn})[:SUSPECTS]
        drawn += await sampling.drawn(connection, subject.index.id, suspects)
    points = await subject.store.fetch(subject.index.id, [each.chunk_id for each in drawn])
    stored = {point.chunk_id: point.vector for point in points if point.vector is not None}
    noise = max(night.noise, subject.version.noise_floor)
    again = await documents.embed_again(asker, drawn, stored, noise)
    left_out = len(stored) - len(again.drawn)
    if left_out:
        night.not_checked.append(
            f"{left_out} long passages: they were sent in pieces, and would be cut into another "
            "number of pieces now"
        )
    return again


async def _streamed(
    subject: Subject, asked: Sequence[Asked], again: Again | None, k: int, values: Values
) -> Neighbours:
    rows = [lists.rows_of(asked, subject.version.identity.dimensions)]
    if again is not None:
        rows.append(again.fresh)
    everything: Matrix = np.concatenate(rows)
    return await neighbours(subject.store, subject.index.id, everything, k + BEYOND, values.add)


async def _compare(
    subject: Subject,
    asker: Asker,
    night: Night,
    asked: Sequence[Asked],
    near: Neighbours,
) -> None:
    """Compare the lists of tonight, sending those that differ until chance is ruled out."""
    k = night.k
    loaded = await lists.with_candidates(asked, near.ids, subject.store, subject.index.id)
    tolerance = lists.usual_tolerance(loaded, k)
    more = await night.tried(
        "queries that differ", lists.ask_again(asker, loaded, lists.differing(loaded, k, tolerance))
    )
    known = loaded if more is None else more
    compared = lists.compared(known, k, tolerance)
    night.compared = compared
    recall = await night.tried("the approximate index", _recall(subject, compared, k, tolerance))
    night.layers = replace(
        night.layers,
        queries=summed_lists(
            compared, references=len(subject.references), tolerance=tolerance, recall=recall
        ),
    )
    night.symptoms = list_symptoms(night.symptoms, compared, recall)


async def _recall(
    subject: Subject, compared: Sequence[Compared], k: int, tolerance: float
) -> float | None:
    """Compare what the store finds by its index with what is nearest, by the reference vectors."""
    shares = []
    for each in compared[:RECALLED]:
        vector = each.asked.reference.sends[0]
        found = await subject.store.search(subject.index.id, vector, k=k)
        scores = each.asked.vectors @ vector
        # What nearly ties with the last of the exact list is as good as it; the store's index may
        # hold vectors in half precision.
        floor = float(np.sort(scores)[::-1][:k][-1]) - max(tolerance, 1e-6)
        shares.append(sum(one.score >= floor for one in found) / min(k, len(scores)))
    return float(np.mean(shares)) if shares else None


def _look_at_passages(night: Night, again: Again | None, near: Neighbours) -> None:
    if again is None or not again.drawn:
        return
    own = Neighbours(
        ids=near.ids[len(near.ids) - len(again.drawn) :],
        scores=near.scores[len(near.ids) - len(again.drawn) :],
        vectors=near.vectors,
    )
    sample: Sample = documents.sampled(again, own, night.flagged)
    night.layers = replace(night.layers, documents=documents.summed_up(again, sample))
    night.symptoms = replace(night.symptoms, documents=sample)


async def _explore(
    services: Services, subject: Subject, asker: Asker, night: Night, again: Again | None
) -> None:
    """Look at what moved, and try hypotheses on a few texts of it."""
    trials = [*_canary_trials(subject, night), *lists.trials(night.compared)]
    if trials:
        spaces = compare_spaces(
            np.stack([trial.stored for trial in trials]),
            np.stack([trial.fresh for trial in trials]),
        )
        night.symptoms = replace(night.symptoms, spaces=spaces)
    sample = night.symptoms.documents
    if again is not None and sample is not None:
        trials += documents.trials(again, sample)
    tried = hypotheses(subject.version.identity, services.tokens)
    likely = plausible(tried, trials, services.tokens)
    night.symptoms = replace(night.symptoms, tried=await try_out(asker, likely, trials))


def _canary_trials(subject: Subject, night: Night) -> list[Trial]:
    if night.proof is None:
        return []
    noise = max(night.noise, subject.version.noise_floor)
    vectors = night.proof.vectors
    return [
        Trial(
            text=canary.text,
            kind=canary.kind,
            stored=canary.vector,
            fresh=vectors[canary.name],
            within=noise,
        )
        for canary in subject.canaries
        if canary.name in vectors and vectors[canary.name].shape == canary.vector.shape
    ]
