"""Canaries: what counts as the same model, a new build of it, and another one."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from numpy.typing import NDArray

from search_app.embedders.base import Embedder
from search_app.embedders.hashing import HashingEmbedder
from search_app.errors import (
    EmbedderRefusedError,
    EmbedderResponseError,
    EmbedderUnavailableError,
    ModelMismatchError,
)
from search_app.identity import (
    CANARIES,
    SAME_MODEL_LIMIT,
    Observation,
    Outcome,
    Prover,
    distance,
    observe,
    prove,
    recognise,
)
from search_app.types import Kind, Matrix, ModelIdentity, ModelVersion


class Moved(Embedder):
    """The hashing embedder, each vector moved to a chosen 1 − cos in a direction of its own."""

    spec = "hashing:64"
    batch_size = 8

    def __init__(self, away: float, *, only: str = "", sends: Sequence[float] = ()) -> None:
        self._real = HashingEmbedder("64")
        self._away = away
        self._only = only
        self._sends = list(sends)
        self.sent = 0

    async def describe(self) -> ModelIdentity:
        return await self._real.describe()

    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        self.sent += 1
        away = self._sends.pop(0) if self._sends else self._away
        vectors = await self._real.embed(texts, kind)
        moved = [
            turn(vector, away) if self._only in text else vector
            for text, vector in zip(texts, vectors, strict=True)
        ]
        return np.stack(moved).astype(np.float32)

    def text_sent(self, text: str, kind: Kind) -> str:
        return self._real.text_sent(text, kind)


def turn(vector: NDArray[Any], away: float) -> NDArray[Any]:
    """Turn a vector so that 1 − cos to its old self is ``away``; by nothing: the same bytes."""
    if away == 0.0:
        return vector
    unit = vector.astype(np.float64) / np.linalg.norm(vector)
    other = np.roll(unit, 1)
    other -= (other @ unit) * unit
    other /= np.linalg.norm(other)
    cosine = 1.0 - away
    turned: NDArray[Any] = cosine * unit + np.sqrt(1.0 - cosine**2) * other
    return turned


def version_of(observation: Observation) -> ModelVersion:
    return ModelVersion(
        id=uuid4(),
        spec="hashing:64",
        identity=observation.identity,
        noise_floor=observation.noise_floor,
        bit_stable=observation.bit_stable,
    )


async def test_a_stable_model_is_seen_to_be_stable() -> None:
    observation = await observe(HashingEmbedder("64"))
    assert observation.bit_stable
    assert observation.noise_floor == 0.0
    assert [canary.name for canary in observation.canaries] == [canary.name for canary in CANARIES]


def test_there_are_twelve_canaries_with_names_of_their_own() -> None:
    assert len({canary.name for canary in CANARIES}) == 12
    assert {canary.kind for canary in CANARIES} == {"query", "document"}


@pytest.mark.parametrize(
    ("away", "outcome"),
    [
        (0.0, Outcome.SAME),
        (1.2e-4, Outcome.NEW_BUILD),
        (SAME_MODEL_LIMIT * 0.9, Outcome.NEW_BUILD),
        (SAME_MODEL_LIMIT * 1.1, Outcome.OTHER_MODEL),
        (0.5, Outcome.OTHER_MODEL),
    ],
)
async def test_distance_decides(away: float, outcome: Outcome) -> None:
    observation = await observe(HashingEmbedder("64"))
    proof = await prove(Moved(away), version_of(observation), observation.canaries)
    assert proof.outcome is outcome
    assert proof.lowest_cosine == pytest.approx(1.0 - away, abs=1e-6)


async def test_one_canary_that_moves_is_enough() -> None:
    observation = await observe(HashingEmbedder("64"))
    proof = await prove(Moved(0.02, only="図書館"), version_of(observation), observation.canaries)
    assert proof.outcome is Outcome.OTHER_MODEL
    assert proof.canary == "japanese"


async def test_a_slip_that_does_not_repeat_is_forgiven() -> None:
    observation = await observe(HashingEmbedder("64"))
    slipping = Moved(0.0, sends=[0.3])
    proof = await prove(slipping, version_of(observation), observation.canaries)
    assert proof.outcome is Outcome.SAME
    assert slipping.sent == len(CANARIES) + 1


async def test_noise_seen_at_registration_widens_the_limit() -> None:
    observation = await observe(HashingEmbedder("64"))
    noisy = ModelVersion(
        id=uuid4(),
        spec="hashing:64",
        identity=observation.identity,
        noise_floor=4e-3,
        bit_stable=False,
    )
    near, far = Moved(3.5e-3), Moved(0.05)
    assert (await prove(near, noisy, observation.canaries)).outcome is Outcome.SAME
    assert (await prove(far, noisy, observation.canaries)).outcome is Outcome.OTHER_MODEL


async def test_the_noise_of_an_unsteady_model_is_measured() -> None:
    sends = [0.0] * (len(CANARIES) + 1) + [1e-3] * len(CANARIES)
    observation = await observe(Moved(0.0, sends=sends))
    assert not observation.bit_stable
    assert observation.noise_floor == pytest.approx(1e-3, rel=0.01)


async def test_other_dimensions_are_another_model() -> None:
    observation = await observe(HashingEmbedder("64"))
    proof = await prove(HashingEmbedder("128"), version_of(observation), observation.canaries)
    assert proof.outcome is Outcome.OTHER_MODEL
    assert "128 dimensions instead of 64" in proof.canary


async def test_recognised_only_when_equal_within_noise() -> None:
    known = await observe(HashingEmbedder("64"))
    version = version_of(known)
    assert recognise(await observe(HashingEmbedder("64")), version, known.canaries)
    assert not recognise(await observe(Moved(1.2e-4)), version, known.canaries)
    assert not recognise(await observe(HashingEmbedder("128")), version, known.canaries)


class RefusesLong(Moved):
    """Refuses what is too long for it, as some servers do."""

    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        if max(map(len, texts)) > 3000:
            raise EmbedderRefusedError("too long")
        return await super().embed(texts, kind)


async def test_a_model_that_refuses_long_texts_is_known_by_the_others() -> None:
    observation = await observe(RefusesLong(0.0))
    assert {canary.name for canary in observation.canaries} == {
        canary.name for canary in CANARIES
    } - {"long"}


class Counting(Moved):
    """Counts, and can be made to fail."""

    down = False

    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        if self.down:
            raise EmbedderUnavailableError("down")
        return await super().embed(texts, kind)


async def test_a_proof_lasts_and_is_renewed() -> None:
    observation = await observe(HashingEmbedder("64"))
    version, embedder = version_of(observation), Counting(0.0)
    lasting = Prover(lasts_s=1000)
    await lasting.ensure(embedder, version, observation.canaries, "default")
    once = embedder.sent
    await lasting.ensure(embedder, version, observation.canaries, "default")
    assert embedder.sent == once
    fleeting = Prover(lasts_s=0, rests_s=0)
    await fleeting.ensure(embedder, version, observation.canaries, "default")
    await fleeting.ensure(embedder, version, observation.canaries, "default")
    assert embedder.sent == 3 * once
    embedder.down = True
    with pytest.raises(EmbedderUnavailableError):
        await fleeting.ensure(embedder, version, observation.canaries, "default")


async def test_the_refusal_names_both_models_and_what_to_type() -> None:
    observation = await observe(HashingEmbedder("64"))
    with pytest.raises(ModelMismatchError) as caught:
        await Prover().ensure(Moved(0.2), version_of(observation), observation.canaries, "notes")
    message = str(caught.value)
    assert "lowest canary cosine 0.8" in message
    assert "'notes'" in message
    assert "hashing:64" in message
    assert "nothing is searched" in message


def test_distance_keeps_its_precision_near_nothing() -> None:
    unit = np.zeros(64, dtype=np.float32)
    unit[0] = 1.0
    near = unit.copy()
    near[1] = 1e-5
    assert distance(unit, near) == pytest.approx(5e-11, rel=1e-3)
    assert distance(unit, unit) == 0.0


async def test_those_who_wait_share_one_failure() -> None:
    observation = await observe(HashingEmbedder("64"))
    version, embedder = version_of(observation), Counting(0.5)
    prover = Prover()
    outcomes = await asyncio.gather(
        *(prover.ensure(embedder, version, observation.canaries, "notes") for _ in range(5)),
        return_exceptions=True,
    )
    assert all(isinstance(outcome, ModelMismatchError) for outcome in outcomes)
    assert embedder.sent <= len(CANARIES) + 3


async def test_models_that_take_turns_are_not_one_model() -> None:
    turns = [0.0] * (len(CANARIES) + 1) + [0.5] * len(CANARIES)
    with pytest.raises(EmbedderResponseError, match="does not answer alike"):
        await observe(Moved(0.0, sends=turns))


@pytest.mark.parametrize("away", [0.0, 0.3])
async def test_canaries_sent_at_once_prove_the_same(away: float) -> None:
    observation = await observe(HashingEmbedder("64"))
    version = version_of(observation)
    alone, together = [
        await prove(Moved(away), version, observation.canaries, at_once=at_once)
        for at_once in (1, 4)
    ]
    assert together.outcome is (Outcome.SAME if away == 0 else Outcome.OTHER_MODEL)
    assert (together.distances, together.decided_after) == (alone.distances, alone.decided_after)
