"""Is this still the model of that index? Canary texts answer, names do not.

A model version is registered with the vectors of fixed canary texts and the noise seen between
their sends. Whoever embeds for an index later sends the canaries again and compares:

* equal, or no further away than the noise seen at registration: the same model;
* further away, also when sent three more times, but by at most max(3 × noise floor, 1e-3) in
  1 − cos: a new build of the same model, which is recorded and goes on;
* further than that in any canary, or another number of dimensions: another model.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import combinations
from shlex import quote
from uuid import UUID

import numpy as np

from search_app.catalog.models import CanaryVector
from search_app.embedders.base import Embedder
from search_app.embedders.batching import normalise
from search_app.errors import (
    EmbedderError,
    EmbedderRefusedError,
    EmbedderResponseError,
    ModelMismatchError,
)
from search_app.types import Kind, ModelIdentity, ModelVersion, Vector

MOST_NOISE = 2e-2
"""Largest 1 − cos between sends of one text that is still one model; hosted ones reach 6e-3."""

SAME_MODEL_LIMIT = 1e-3
"""Least 1 − cos that makes another model; two builds of one engine were seen 1.2e-4 apart."""

REPEATS = 3
"""Sends that must confirm a difference which noise might explain."""

_LONG = (
    "The archive keeps every letter that the observatory received between the two expeditions, "
    "sorted by the day of arrival and copied twice by hand. "
)
_LONG_REPEATS = 30  # about 750 tokens of a WordPiece or Unigram vocabulary: above a limit of 512
_TWIN_REPEATS = 18  # about 450 tokens


@dataclass(frozen=True, kw_only=True)
class Canary:
    """A fixed text and the role in which it is embedded."""

    name: str
    kind: Kind
    text: str


CANARIES: tuple[Canary, ...] = (
    Canary(name="short", kind="document", text="water"),
    Canary(name="long", kind="document", text=_LONG * _LONG_REPEATS),
    Canary(name="long-truncated", kind="document", text=_LONG * _TWIN_REPEATS),
    Canary(name="case-upper", kind="document", text="THE NIGHT TRAIN TO OSLO LEAVES AT NINE"),
    Canary(name="case-lower", kind="document", text="the night train to oslo leaves at nine"),
    Canary(
        name="accents", kind="document", text="Čaj, crème brûlée und Straßenbahn für zwölf Gäste"
    ),
    Canary(
        name="japanese",
        kind="document",
        text="図書館は月曜日と祝日に休みます。返却は入口の箱へどうぞ。",
    ),
    Canary(name="emoji", kind="document", text="Picnic on Sunday 🧺🌦️ bring 👩‍🔬 and the 🐕"),
    Canary(
        name="numbers", kind="document", text="Invoice PPR-9087 of 2024-03-15: 1,299.50 EUR, 19 %"
    ),
    Canary(
        name="newlines", kind="document", text="first line\nsecond line\n\n\tan indented third line"
    ),
    Canary(name="as-document", kind="document", text="how do I reset the password of my account"),
    Canary(name="as-query", kind="query", text="how do I reset the password of my account"),
)


_Key = tuple[str, UUID]

Asking = Callable[[Embedder, ModelVersion, Sequence[CanaryVector]], Awaitable["Proof"]]


class Outcome(StrEnum):
    """What comparing canaries says."""

    SAME = "same"
    NEW_BUILD = "new build"
    OTHER_MODEL = "other model"


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What a model was seen to do with the canaries.

    ``noise_floor`` is the largest 1 − cos between any two sends of one canary: twice alone and
    once among others, where the embedder takes several texts a request.
    """

    identity: ModelIdentity
    canaries: Sequence[CanaryVector]
    noise_floor: float
    bit_stable: bool


@dataclass(frozen=True, kw_only=True)
class Proof:
    """The outcome of asking a model for its canaries, and the canary that decided it.

    ``distances`` are 1 - cos to the registered vectors by the canary's name, the least of all
    sends; ``vectors`` what the first send of each gave. ``decided_after`` texts it was clear that
    another model answers; None where none does.
    """

    outcome: Outcome
    lowest_cosine: float
    canary: str
    library_versions: Mapping[str, str]
    distances: Mapping[str, float] = field(default_factory=dict)
    vectors: Mapping[str, Vector] = field(default_factory=dict)
    decided_after: int | None = None


def distance(left: Vector, right: Vector) -> float:
    """Give 1 − cos of two unit vectors, as half their squared difference, in float64.

    This form keeps its precision where the cosine is near 1: subtracting from 1 does not.
    """
    difference = left.astype(np.float64) - right.astype(np.float64)
    return float(difference @ difference) / 2.0


async def observe(embedder: Embedder) -> Observation:
    """Embed the canaries, each alone twice and once in company, and measure the noise.

    A model that refuses the over-long canary as such is observed without it.

    Raises:
        EmbedderError: the embedder does not answer or answers nonsense.
        EmbedderResponseError: its answers differ so much that they are not those of one model.
    """
    identity = await embedder.describe()
    canaries = await _accepted(embedder)
    first = await _send_alone(embedder, canaries)
    sends = [first, await _send_alone(embedder, canaries)]
    if embedder.batch_size > 1:
        sends.append(await _send_together(embedder, canaries))
    largest, stable = 0.0, True
    for canary in canaries:
        for left, right in combinations(sends, 2):
            a, b = left[canary.name], right[canary.name]
            if a.tobytes() != b.tobytes():
                stable = False
                largest = max(largest, distance(a, b))
    if largest > MOST_NOISE:
        raise EmbedderResponseError(
            f"{embedder.spec} does not answer alike twice: 1 − cos {largest:.4f} between sends of "
            "one text; several models may answer behind one address"
        )
    vectors = [
        CanaryVector(
            name=canary.name, kind=canary.kind, text=canary.text, vector=first[canary.name]
        )
        for canary in canaries
    ]
    return Observation(identity=identity, canaries=vectors, noise_floor=largest, bit_stable=stable)


async def _accepted(embedder: Embedder) -> list[Canary]:
    accepted = []
    for canary in CANARIES:
        if canary.name == "long":
            try:
                await embedder.embed([canary.text], canary.kind)
            except EmbedderRefusedError:
                # Some servers refuse what others cut off; both are ways to be a model. If it
                # refuses everything, the next canary says so.
                continue
        accepted.append(canary)
    return accepted


async def _send_alone(
    embedder: Embedder, canaries: Sequence[Canary | CanaryVector]
) -> dict[str, Vector]:
    vectors = {}
    for canary in canaries:
        unit, _ = normalise(await embedder.embed([canary.text], canary.kind))
        vectors[canary.name] = unit[0]
    return vectors


async def _send_together(embedder: Embedder, canaries: Sequence[Canary]) -> dict[str, Vector]:
    vectors: dict[str, Vector] = {}
    for kind in ("document", "query"):
        group = [canary for canary in canaries if canary.kind == kind]
        for start in range(0, len(group), embedder.batch_size):
            batch = group[start : start + embedder.batch_size]
            unit, _ = normalise(await embedder.embed([canary.text for canary in batch], kind))
            vectors.update(zip((canary.name for canary in batch), unit, strict=True))
    return vectors


async def prove(
    embedder: Embedder,
    version: ModelVersion,
    canaries: Sequence[CanaryVector],
    *,
    at_once: int = 1,
) -> Proof:
    """Send the canaries of a model version, each alone, and say which model answered.

    ``at_once`` requests are under way together, where a proof is not to hold up what it is for;
    they are judged in the same order.

    Raises:
        EmbedderError: the embedder does not answer; that is no proof of anything.
    """
    identity = await embedder.describe()
    if identity.dimensions != version.identity.dimensions:
        return Proof(
            outcome=Outcome.OTHER_MODEL,
            lowest_cosine=0.0,
            canary=f"{identity.dimensions} dimensions instead of {version.identity.dimensions}",
            library_versions=identity.library_versions,
        )
    outcome = Outcome.SAME
    vectors, distances = {}, {}
    sent, decided_after = 0, None
    firsts = await _sent_at_once(embedder, canaries, at_once) if at_once > 1 else {}
    for canary in canaries:
        first = firsts[canary.name] if firsts else await _sent(embedder, canary)
        vectors[canary.name] = first
        away = _away(first, canary)
        sent += 1
        # Once it is decided, the rest is sent once, to say how far away the furthest is.
        if decided_after is None:
            seen, away, repeats = await _judge(embedder, version, canary, away)
            sent += repeats
            outcome = outcome if seen is Outcome.SAME else seen
            decided_after = sent if outcome is Outcome.OTHER_MODEL else None
        distances[canary.name] = away
    furthest = max(distances, key=lambda name: distances[name], default="none")
    far = distances.get(furthest, 0.0)
    return Proof(
        outcome=outcome,
        lowest_cosine=1.0 - far,
        canary=furthest if far > 0 else "none",
        library_versions=identity.library_versions,
        distances=distances,
        vectors=vectors,
        decided_after=decided_after,
    )


async def _judge(
    embedder: Embedder, version: ModelVersion, canary: CanaryVector, first: float
) -> tuple[Outcome, float, int]:
    """Judge one canary by its first send; a difference counts only if repeats confirm it.

    One repeat is enough for what is further away than any noise, three for what may be noise.

    Returns:
        The outcome, the least 1 - cos of all sends, and the number of repeats.
    """
    nearest, repeats = first, 0
    while nearest > version.noise_floor and repeats < REPEATS:
        nearest = min(nearest, _away(await _sent(embedder, canary), canary))
        repeats += 1
        if nearest > max(3 * version.noise_floor, MOST_NOISE):
            return Outcome.OTHER_MODEL, nearest, repeats
    if nearest <= version.noise_floor:
        return Outcome.SAME, nearest, repeats
    limit = max(3 * version.noise_floor, SAME_MODEL_LIMIT)
    return (Outcome.OTHER_MODEL if nearest > limit else Outcome.NEW_BUILD), nearest, repeats


async def _sent_at_once(
    embedder: Embedder, canaries: Sequence[CanaryVector], at_once: int
) -> dict[str, Vector]:
    vectors: dict[str, Vector] = {}
    waiting = iter(canaries)

    async def send_until_none_waits() -> None:
        for canary in waiting:
            vectors[canary.name] = await _sent(embedder, canary)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(at_once, len(canaries))):
                group.create_task(send_until_none_waits())
    except ExceptionGroup as failed:
        first = failed.exceptions[0]
        raise first from first.__cause__
    return vectors


async def _sent(embedder: Embedder, canary: CanaryVector) -> Vector:
    unit, _ = normalise(await embedder.embed([canary.text], canary.kind))
    vector: Vector = unit[0]
    return vector


def _away(vector: Vector, canary: CanaryVector) -> float:
    if vector.shape != canary.vector.shape:
        # A dimension that changes between two requests: as far as can be.
        return 1.0
    return 0.0 if vector.tobytes() == canary.vector.tobytes() else distance(vector, canary.vector)


def recognise(
    observation: Observation, version: ModelVersion, canaries: Sequence[CanaryVector]
) -> bool:
    """Say whether a model just observed is a version already registered, whatever its name.

    Only canaries equal within noise count: a new build gets a version of its own in a new index.
    """
    if observation.identity.dimensions != version.identity.dimensions:
        return False
    seen = {canary.name: canary for canary in observation.canaries}
    if seen.keys() != {canary.name for canary in canaries}:
        return False
    # Never so wide that it would cover another model.
    noise = min(max(observation.noise_floor, version.noise_floor), SAME_MODEL_LIMIT)
    return all(
        seen[known.name].text == known.text
        and distance(seen[known.name].vector, known.vector) <= noise
        for known in canaries
    )


def query_mismatch(
    embedder: Embedder, version: ModelVersion, proof: Proof, collection: str
) -> ModelMismatchError:
    """Word the refusal to search: what differs, both identities, and what to put right."""
    if version.unverified:
        return ModelMismatchError(
            f"{_declared_wrongly(embedder, version, proof, collection)} Nothing is searched with "
            "it; point the embedder's address and settings at the model that made them, or embed "
            f"them: ingest reindex --collection {quote(collection)} --embedder "
            f"{quote(embedder.spec)}"
        )
    return ModelMismatchError(
        f"another model answers: {embedder.spec} is not the model of the index of collection "
        f"{collection!r} ({version.name}, {version.identity.dimensions} dimensions); lowest canary "
        f"cosine {proof.lowest_cosine:.6f} ({proof.canary}). Its vectors would rank by chance, so "
        "nothing is searched; point the embedder's address and settings at the model of the index"
    )


def mismatch(
    embedder: Embedder, version: ModelVersion, proof: Proof, collection: str
) -> ModelMismatchError:
    """Word the refusal: what differs, both identities, and the command that embeds anew."""
    if version.unverified:
        return ModelMismatchError(
            f"{_declared_wrongly(embedder, version, proof, collection)} Nothing of it was made "
            "visible. To embed with this model, build an index of it beside the one that answers: "
            f"ingest reindex --collection {quote(collection)} --embedder {quote(embedder.spec)}"
        )
    return ModelMismatchError(
        f"another model answers: {embedder.spec} is not the model of the index of collection "
        f"{collection!r} ({version.name}, {version.identity.dimensions} dimensions, registered as "
        f"{version.spec}); lowest canary cosine {proof.lowest_cosine:.6f} ({proof.canary}). "
        "Nothing of it was made visible. To embed with this model, build an index of it beside the "
        f"one that answers: ingest reindex --collection {quote(collection)} "
        f"--embedder {quote(embedder.spec)}"
    )


def _declared_wrongly(
    embedder: Embedder, version: ModelVersion, proof: Proof, collection: str
) -> str:
    return (
        f"the vectors of collection {collection!r} that were imported as those of {version.name} "
        f"are not what {embedder.spec} answers: lowest cosine {proof.lowest_cosine:.6f} "
        f"({proof.canary})."
    )


class Prover:
    """Remembers that an embedder proved itself, and asks again from time to time.

    One for each process. A proof lasts ``lasts_s`` seconds, a failure ``rests_s`` or as long as it
    took to fail: those who wait for one attempt share its outcome instead of each waiting for an
    attempt of their own, and a model that does not answer is waited for half of the time at most.
    """

    def __init__(self, *, lasts_s: float = 600.0, rests_s: float = 2.0) -> None:
        """Start with no proof of anything."""
        self._lasts_s = lasts_s
        self._rests_s = rests_s
        self._proved: dict[_Key, float] = {}
        self._failed: dict[_Key, tuple[float, EmbedderError]] = {}
        """Until when each failure stands."""
        self._locks: defaultdict[_Key, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def ensure(
        self,
        embedder: Embedder,
        version: ModelVersion,
        canaries: Sequence[CanaryVector],
        collection: str,
        *,
        ask: Asking | None = None,
    ) -> bool:
        """Return if the embedder is the model version, asking it only when the proof is old.

        ``ask`` asks it in the place of ``prove``.

        Returns:
            Whether it was asked now.

        Raises:
            ModelMismatchError: it is another model.
            EmbedderError: it does not answer.
        """
        key = (embedder.spec, version.id)
        async with self._locks[key]:
            if self.stands(embedder, version):
                return False
            now = time.monotonic()
            if key in self._failed and now < self._failed[key][0]:
                raise self._failed[key][1]
            try:
                proof = await (ask or prove)(embedder, version, canaries)
                if proof.outcome is Outcome.OTHER_MODEL:
                    raise query_mismatch(embedder, version, proof, collection)
            except EmbedderError as exc:
                self._note(key, exc, since=now)
                raise
            self._proved[key] = time.monotonic()
            return True

    def stands(self, embedder: Embedder, version: ModelVersion) -> bool:
        """Whether a proof is young enough, so that nobody has to be asked."""
        proved = self._proved.get((embedder.spec, version.id))
        return proved is not None and time.monotonic() - proved < self._lasts_s

    def failed(
        self, embedder: Embedder, version: ModelVersion, error: EmbedderError, *, since: float
    ) -> None:
        """Take note that a proved embedder does not answer, asked at ``since`` (monotonic)."""
        self._note((embedder.spec, version.id), error, since=since)

    def _note(self, key: _Key, error: EmbedderError, *, since: float) -> None:
        now = time.monotonic()
        self._proved.pop(key, None)
        self._failed[key] = (now + max(self._rests_s, now - since), error)
