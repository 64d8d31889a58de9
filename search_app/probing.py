"""What does an embedder do? Its dimensions, norms, noise, limit of length and speed, measured.

A text may come back different because it was sent twice, or because of what travelled beside it.
Each way is measured by itself, so that the verdict can say which it is.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from search_app.embedders.base import Embedder
from search_app.embedders.batching import UNIT_TOLERANCE, embed_all, normalise
from search_app.errors import EmbedderRefusedError
from search_app.identity import MOST_NOISE
from search_app.types import Matrix, ModelIdentity

TEXTS = 64
"""Texts of a probe, unless told otherwise."""

LONGEST_WORDS = 8192
"""Words of the longest text that is tried."""

_SHORTEST_WORDS = 16
_EXACTNESS = 0.05
"""How near the limit is looked for, as a share of it."""

_TAIL = 24
"""Words that two long texts differ by, at their ends."""


class Way(StrEnum):
    """How texts were sent a second time."""

    ALONE = "alone"
    """Each in a request of its own, twice."""
    REPEATED = "repeated"
    """In the same requests, twice."""
    BATCHED = "batched"
    """Alone, and among others."""
    REORDERED = "reordered"
    """Among others, and among the same in another order."""


class Stability(StrEnum):
    """What the ways together say of a model."""

    BIT_STABLE = "bit-stable"
    BATCH_DEPENDENT = "batch-dependent"
    NOISY = "noisy"
    UNSTEADY = "unsteady"
    """So far apart that several models may answer behind one name."""


class Limit(StrEnum):
    """What becomes of a text that is too long."""

    TRUNCATED = "truncated"
    REFUSED = "refused"
    NOT_MET = "not met"


@dataclass(frozen=True, kw_only=True)
class Noise:
    """1 − cos between two sends of the same texts; ``equal`` of them came back to the bit."""

    median: float
    largest: float
    equal: int
    texts: int


@dataclass(frozen=True, kw_only=True)
class Norms:
    """Lengths of the vectors as received."""

    smallest: float
    median: float
    largest: float

    @property
    def unit(self) -> bool:
        """Say whether all of them have length 1, as far as float32 goes."""
        return max(abs(self.smallest - 1), abs(self.largest - 1)) <= UNIT_TOLERANCE


@dataclass(frozen=True, kw_only=True)
class Reach:
    """How much of a long text counts: about ``words`` and ``characters`` of English prose.

    Both are what was read before it was cut off or refused; where no limit was met, what was tried.
    """

    limit: Limit
    words: int
    characters: int


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """How fast it embeds texts of a passage's length; ``tokens`` a second where they are known."""

    texts: float
    tokens: float | None


@dataclass(frozen=True, kw_only=True)
class Probe:
    """All that was measured of an embedder."""

    spec: str
    identity: ModelIdentity
    texts: int
    batch_size: int
    norms: Norms
    noise: Mapping[Way, Noise]
    reach: Reach
    throughput: Throughput

    @property
    def stability(self) -> Stability:
        """Sum the noise up."""
        return stability(self.noise)

    @property
    def verdict(self) -> str:
        """Say in one line what to make of the model."""
        return verdict(self.noise)


def noise_between(left: Matrix, right: Matrix) -> Noise:
    """Compare unit vectors row by row, (n, d) float32 each, n >= 1.

    1 − cos is half the squared difference, in float64: near 1 a cosine itself has no digits left.
    """
    equal = [a.tobytes() == b.tobytes() for a, b in zip(left, right, strict=True)]
    difference = left.astype(np.float64) - right.astype(np.float64)
    away = np.einsum("ij,ij->i", difference, difference) / 2.0
    # Zeros of either sign differ in their bits and in nothing else.
    away[np.array(equal)] = 0.0
    return Noise(
        median=float(np.median(away)),
        largest=float(away.max()),
        equal=sum(equal),
        texts=len(left),
    )


def norms_of(lengths: NDArray[np.float64]) -> Norms:
    """Sum up the lengths of vectors, (n,), n >= 1."""
    return Norms(
        smallest=float(lengths.min()),
        median=float(np.median(lengths)),
        largest=float(lengths.max()),
    )


def stability(noise: Mapping[Way, Noise]) -> Stability:
    """Say what kind of model shows this noise."""
    if max(each.largest for each in noise.values()) > MOST_NOISE:
        return Stability.UNSTEADY
    if all(each.equal == each.texts for each in noise.values()):
        return Stability.BIT_STABLE
    again = [noise[way] for way in (Way.ALONE, Way.REPEATED) if way in noise]
    if all(each.equal == each.texts for each in again):
        return Stability.BATCH_DEPENDENT
    return Stability.NOISY


def verdict(noise: Mapping[Way, Noise]) -> str:
    """Word the stability of a model in one line."""
    largest = max(each.largest for each in noise.values())
    match stability(noise):
        case Stability.BIT_STABLE:
            return "bit-stable: a text has one vector, whenever it is sent and whatever beside it"
        case Stability.BATCH_DEPENDENT:
            return (
                "batch-dependent: equal requests give equal vectors, but what travels with a text "
                f"changes its vector by up to 1 − cos = {largest:.1e}"
            )
        case Stability.NOISY:
            return (
                f"noisy: the same text sent twice comes back up to 1 − cos = {largest:.1e} apart, "
                "so that equal ranks within that distance mean nothing"
            )
        case Stability.UNSTEADY:
            return (
                f"unsteady: the same text comes back up to 1 − cos = {largest:.1e} apart; several "
                "models may answer behind one name, and indexes cannot be built with it"
            )


async def longest_read(reads: Callable[[int], Awaitable[bool]], most: int) -> int:
    """Find the largest number of words that is read, 0 to ``most``, to within 5 %.

    ``reads(n)`` says whether what follows n words still counts; once false, it is for all more.
    """
    low, high = 0, _SHORTEST_WORDS
    while await reads(high):
        if high >= most:
            return most
        low, high = high, min(2 * high, most)
    while high - low > max(1, _EXACTNESS * low):
        middle = (low + high) // 2
        if await reads(middle):
            low = middle
        else:
            high = middle
    return low


async def probe(
    embedder: Embedder,
    *,
    texts: int = TEXTS,
    count_tokens: Callable[[str], int] | None = None,
) -> Probe:
    """Measure an embedder with texts of its own, ``texts`` of them, at least 2.

    ``count_tokens`` counts the tokens of the model, where somebody can.

    Raises:
        EmbedderError: it does not answer, refuses or answers nonsense.
    """
    identity = await embedder.describe()
    sample = passages(texts)
    # What is loaded or connected at the first text shall not count.
    await embedder.embed(sample[:1], "document")
    began = time.perf_counter()
    answer = await embed_all(embedder, sample, "document")
    seconds = time.perf_counter() - began
    batched, lengths = normalise(answer.vectors)
    alone = await _alone(embedder, sample)
    noise = {Way.ALONE: noise_between(alone, await _alone(embedder, sample))}
    if embedder.batch_size > 1:
        noise |= {
            Way.REPEATED: noise_between(batched, await _together(embedder, sample)),
            Way.BATCHED: noise_between(alone, batched),
            Way.REORDERED: noise_between(batched, await _reordered(embedder, sample)),
        }
    largest = max(each.largest for each in noise.values())
    return Probe(
        spec=embedder.spec,
        identity=identity,
        texts=texts,
        batch_size=embedder.batch_size,
        norms=norms_of(lengths),
        noise=noise,
        reach=await _reach(embedder, largest),
        throughput=Throughput(
            texts=texts / seconds,
            tokens=None if count_tokens is None else sum(map(count_tokens, sample)) / seconds,
        ),
    )


_SUBJECTS = (
    *("The harbour office", "A retired surveyor", "Our night librarian", "The second orchestra"),
    *("Each apprentice", "The glacier station", "A travelling printer", "The beekeeper's union"),
)
_DEEDS = (
    *("keeps a ledger of", "asks every spring for", "has mislaid", "repairs without haste"),
    *("photographs", "writes letters about", "weighs twice", "never speaks of"),
)
_THINGS = (
    *("the brass instruments in the attic", "maps drawn before the flood"),
    *("the boats that came back late", "forty crates of winter apples"),
    *("what the tide leaves on the steps", "the clock above the market hall"),
    *("letters that were never collected", "a bridge nobody crosses at noon"),
)
_JAPANESE = (
    *(
        "港の事務所は、遅れて戻った船の記録を毎日つけています。",
        "司書は夜ごとに古い地図を写します。",
    ),
    *("橋の上の時計は正午に二度鳴ります。", "養蜂家は春になると箱の重さを量ります。"),
    *("手紙は受け取られないまま、棚に並んでいます。", "楽団は木曜日の午後に練習をします。"),
)


def passages(number: int) -> list[str]:
    """Make so many different texts, English and Japanese, from a line to a paragraph long."""
    made = []
    for place in range(number):
        lines = 1 + place % 7
        if place % 4 == 3:  # noqa: PLR2004 - every fourth
            body = "".join(_JAPANESE[(place + line) % len(_JAPANESE)] for line in range(lines))
        else:
            body = " ".join(_sentence(place * 7 + line) for line in range(lines))
        made.append(f"{place + 1}. {body}")
    return made


def _sentence(number: int) -> str:
    subject = _SUBJECTS[number % len(_SUBJECTS)]
    deed = _DEEDS[number // 3 % len(_DEEDS)]
    return f"{subject} {deed} {_THINGS[number // 5 % len(_THINGS)]}."


async def _alone(embedder: Embedder, texts: Sequence[str]) -> Matrix:
    answers = [await embedder.embed([text], "document") for text in texts]
    return normalise(np.concatenate(answers))[0]


async def _together(embedder: Embedder, texts: Sequence[str]) -> Matrix:
    return normalise((await embed_all(embedder, texts, "document")).vectors)[0]


async def _reordered(embedder: Embedder, texts: Sequence[str]) -> Matrix:
    order = np.random.default_rng(len(texts)).permutation(len(texts))
    vectors = await _together(embedder, [texts[place] for place in order])
    back = np.empty_like(order)
    back[order] = np.arange(len(texts))
    given: Matrix = vectors[back]
    return given


async def _reach(embedder: Embedder, noise: float) -> Reach:
    """Find where two texts that differ only at their ends begin to get the same vector."""
    refused = False

    async def reads(words: int) -> bool:
        nonlocal refused
        head = _prose(words)
        try:
            ends = await _alone(embedder, [f"{head} {_ending(place)}" for place in (0, 1)])
        except EmbedderRefusedError:
            refused = True
            return False
        apart = noise_between(ends[:1], ends[1:])
        return not apart.equal and apart.largest > 2 * noise

    words = await longest_read(reads, LONGEST_WORDS)
    limit = (
        Limit.REFUSED if refused else Limit.TRUNCATED if words < LONGEST_WORDS else Limit.NOT_MET
    )
    return Reach(limit=limit, words=words, characters=len(_prose(words)))


def _prose(words: int) -> str:
    sentences: list[str] = []
    number = 0
    while len(sentences) < words:
        sentences += _sentence(number).split()
        number += 1
    return " ".join(sentences[:words])


def _ending(place: int) -> str:
    word = ("umbrella thunder violet", "kilogram avenue copper")[place]
    return " ".join([word] * (_TAIL // 3))
