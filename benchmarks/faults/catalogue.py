"""The nulls and the faults: what is planted, and what a checker has to say of it."""

import unicodedata
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import numpy as np

from benchmarks.faults.clients import (
    NO_PREFIXES,
    PREFIXES,
    SWAPPED,
    Answer,
    Generator,
    batched,
    for_some,
    mixture,
    noisy,
    plain,
    rotation,
    shortened,
    turned,
)
from benchmarks.faults.models import E5, MiniLM, Quantised
from benchmarks.faults.worlds import Setting, World
from search_app.types import Matrix, Vector

TENTH = "a tenth of the queries"

SWAP, PREFIX, CUT, EDIT, BUILD = (
    "model swap",
    "prefix",
    "truncation",
    "text preprocessing",
    "precision or build",
)
MAPPING, DTYPE, NORM, DIMENSIONS = (
    "wrong mapping",
    "stored dtype",
    "normalisation",
    "dimension truncation",
)
BROKEN, LOST, COLLAPSE, STALE, INDEX = (
    "corruption",
    "lost or left behind",
    "collapse",
    "stale text",
    "approximate index",
)


@dataclass(frozen=True, kw_only=True)
class Models:
    """The models that there are; None where a package is missing."""

    e5: E5
    english: E5
    bf16: E5
    int8: E5
    minilm: MiniLM | None
    quantised: Quantised | None

    @property
    def other(self) -> Answer:
        """Another model of the same dimensions."""
        if self.minilm is not None:
            return plain(self.minilm, NO_PREFIXES)
        return turned(plain(self.english), rotation(np.random.default_rng(1), 384))


@dataclass(frozen=True, kw_only=True)
class Planting:
    """What was planted; ``ids`` are the passages that an integrity scan must list."""

    ids: frozenset[UUID] = frozenset()


Plant = Callable[[World, Generator], Awaitable[Planting]]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault, the verdicts that are right, and its causes; nights that it may take to find.

    ``integrity``: an integrity scan must list what was planted. ``settings`` are the worlds it is
    planted in.
    """

    name: str
    plant: Plant
    causes: frozenset[str]
    verdicts: frozenset[str] = frozenset(["fail"])
    nights: int = 1
    integrity: bool = False
    settings: Sequence[str] = field(default=("bit-exact",))


def nulls(models: Models, axis: Vector) -> list[Setting]:
    """List worlds in which nothing ever happens; ``axis`` is the corpus's own main direction."""

    def e5(_draw: Generator) -> Answer:
        return plain(models.e5)

    def every(
        length: float, sends: float = 1.0, texts: float = 1.0
    ) -> Callable[[Generator], Answer]:
        return lambda draw: noisy(plain(models.e5), draw, length, sends=sends, texts=texts)

    def replicas(share: float) -> Callable[[Generator], Answer]:
        return lambda draw: mixture(plain(models.e5), plain(models.bf16), draw, share)

    found = [
        Setting(name="bit-exact", healthy=e5, prefixes=PREFIXES),
        Setting(name="bit-exact, free", healthy=e5, prefixes=PREFIXES, paid=False),
        Setting(name="noise 1e-4", healthy=every(1e-4), prefixes=PREFIXES),
        Setting(name="noise 5e-3", healthy=every(5e-3), prefixes=PREFIXES),
        Setting(name="noise 0.085", healthy=every(0.085), prefixes=PREFIXES),
        Setting(
            name="noise 0.085, 0.5 % of sends",
            healthy=every(0.085, sends=0.005),
            prefixes=PREFIXES,
        ),
        Setting(
            name="noise 0.085, 5 % of sends", healthy=every(0.085, sends=0.05), prefixes=PREFIXES
        ),
        Setting(
            name="noise 0.085, 0.5 % of texts",
            healthy=every(0.085, texts=0.005),
            prefixes=PREFIXES,
        ),
        Setting(
            name="noise 0.085, 5 % of texts", healthy=every(0.085, texts=0.05), prefixes=PREFIXES
        ),
        Setting(
            name="noise 0.085 along the corpus",
            healthy=lambda draw: noisy(plain(models.e5), draw, 0.085, along=axis),
            prefixes=PREFIXES,
        ),
        Setting(name="two builds, 50/50", healthy=replicas(0.5), prefixes=PREFIXES),
        Setting(name="two builds, 95/5", healthy=replicas(0.05), prefixes=PREFIXES),
    ]
    for name, model in (("batch rounding", models.minilm), ("quantised", models.quantised)):
        if model is not None:
            found.append(_batched(name, model))
    return found


def _batched(name: str, model: MiniLM) -> Setting:
    return Setting(name=name, healthy=lambda _draw: batched(model), prefixes=NO_PREFIXES)


def faults(models: Models) -> list[Fault]:
    """List what is planted."""
    return [
        *_swaps(models),
        *_client_faults(models),
        *_value_faults(),
        *_store_faults(),
        *_document_faults(models),
        *_both(models),
    ]


def _answering(make: Callable[[World, Generator], Answer]) -> Plant:
    """From now on the model answers otherwise."""

    async def plant(world: World, draw: Generator) -> Planting:
        world.planted.answer = make(world, draw)
        return Planting()

    return plant


def _now(
    name: str,
    cause: str,
    make: Callable[[World, Generator], Answer],
    *,
    verdicts: Sequence[str] = ("fail",),
    settings: Sequence[str] = ("bit-exact",),
) -> Fault:
    return Fault(
        name=name,
        plant=_answering(make),
        causes=frozenset([cause]),
        verdicts=frozenset(verdicts),
        settings=settings,
    )


def _swaps(models: Models) -> list[Fault]:
    e5 = plain(models.e5)

    def queries_only(_world: World, _draw: Generator) -> Answer:
        return for_some(e5, models.other, lambda _text, kind: kind == "query")

    def tenth(world: World, draw: Generator) -> Answer:
        texts = [reference.text for reference in world.references]
        chosen = set(draw.permutation(texts)[: len(texts) // 10].tolist())
        return for_some(e5, models.other, lambda text, kind: kind == "query" and text in chosen)

    everywhere = ("bit-exact", "noise 5e-3")
    return [
        _now("another model", SWAP, lambda *_: models.other, settings=everywhere),
        _now("another model for queries", SWAP, queries_only),
        _now("another variant, other languages only", SWAP, lambda *_: plain(models.english)),
        _now(
            "a rotation",
            SWAP,
            lambda _world, draw: turned(e5, rotation(draw, 384)),
        ),
        Fault(
            name=TENTH,
            plant=_answering(tenth),
            causes=frozenset([SWAP]),
            nights=4,
        ),
        _now("bf16 build", BUILD, lambda *_: plain(models.bf16), verdicts=("warn", "fail")),
        _now("int8 build", BUILD, lambda *_: plain(models.int8), verdicts=("warn", "fail")),
    ]


def _client_faults(models: Models) -> list[Fault]:
    def short(limit: int) -> Callable[[World, Generator], Answer]:
        return lambda *_: plain(models.e5, limit=limit)

    return [
        _now("limit 256 tokens", CUT, short(256), verdicts=("fail", "warn")),
        _now("limit 128 tokens", CUT, short(128), verdicts=("fail", "warn")),
        _now("lower case", EDIT, lambda *_: plain(models.e5, edit=str.lower)),
        # The tokenizer does that itself, so no vector changes and nothing must be said.
        Fault(
            name="NFKC, which changes no vector",
            plant=_answering(
                lambda *_: plain(models.e5, edit=lambda t: unicodedata.normalize("NFKC", t))
            ),
            causes=frozenset(),
            verdicts=frozenset(["stable"]),
        ),
        _now("prefixes missing", PREFIX, lambda *_: plain(models.e5, NO_PREFIXES)),
        _now("prefixes swapped", PREFIX, lambda *_: plain(models.e5, SWAPPED)),
        *(
            _now(
                f"{share} % of the dimensions",
                DIMENSIONS,
                lambda *_, size=384 * share // 100: shortened(plain(models.e5), size),
            )
            for share in (75, 50, 25)
        ),
    ]


def _value_faults() -> list[Fault]:
    """Stored values of the right direction: length, dimensions, number format."""
    changes: list[tuple[str, str, Callable[[Matrix], Matrix]]] = [
        ("length x 0.5", NORM, lambda v: v * 0.5),
        ("length x 2", NORM, lambda v: v * 2),
        ("75 % of dimensions, then zeros", DIMENSIONS, lambda v: _zeroed(v, 288)),
        ("50 % of dimensions, then zeros", DIMENSIONS, lambda v: _zeroed(v, 192)),
        ("25 % of dimensions, then zeros", DIMENSIONS, lambda v: _zeroed(v, 96)),
        ("as fp16", DTYPE, lambda v: v.astype(np.float16).astype(np.float32)),
        ("as bf16", DTYPE, _bf16),
        ("as int8", DTYPE, _int8),
        ("as binary", DTYPE, lambda v: _unit(np.sign(v))),
    ]
    return [
        Fault(
            name=f"stored {name}, {'before' if before else 'after'} hashing",
            plant=_changed(1.0, change, before_hashing=before),
            causes=frozenset([cause]),
            integrity=True,
        )
        for name, cause, change in changes
        for before in (True, False)
    ]


def _changed(
    share: float, change: Callable[[Matrix], Matrix], *, before_hashing: bool = False
) -> Plant:
    async def plant(world: World, draw: Generator) -> Planting:
        stored = world.stored
        number = max(1, round(share * len(stored.ids)))
        places = sorted(draw.permutation(len(stored.ids))[:number].tolist())
        vectors = change(stored.vectors[places])
        await stored.write(places, vectors, before_hashing=before_hashing)
        return Planting(ids=frozenset(stored.ids[place] for place in places))

    return plant


def _zeroed(vectors: Matrix, size: int) -> Matrix:
    short = vectors.copy()
    short[:, size:] = 0
    return _unit(short)


def _bf16(vectors: Matrix) -> Matrix:
    bits = np.ascontiguousarray(vectors, np.float32).view(np.uint32) & np.uint32(0xFFFF0000)
    return bits.view(np.float32)


def _int8(vectors: Matrix) -> Matrix:
    scale = np.abs(vectors).max(axis=1, keepdims=True) / 127
    return np.asarray(np.round(vectors / scale) * scale, np.float32)


def _unit(vectors: Matrix) -> Matrix:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def _flipped(vectors: Matrix) -> Matrix:
    """Flip a bit in the fraction of one value: the vector stays finite and looks sound."""
    bits = np.ascontiguousarray(vectors, np.float32).view(np.uint32).copy()
    bits[:, 7] ^= np.uint32(1 << 21)
    return bits.view(np.float32)


def _store_faults() -> list[Fault]:
    return [
        *(
            Fault(
                name=f"bytes flipped in {share} %",
                plant=_changed(share / 100, _flipped),
                causes=frozenset([BROKEN]),
                integrity=True,
            )
            for share in (0.01, 0.1, 1)
        ),
        *(
            Fault(
                name=f"swapped in the store, {share} %",
                plant=_swapped(share / 100),
                causes=frozenset([MAPPING]),
                integrity=True,
            )
            for share in (0.1, 1)
        ),
        Fault(name="shifted by one", plant=_shifted, causes=frozenset([MAPPING])),
        Fault(name="vectors lost", plant=_lost, causes=frozenset([LOST]), integrity=True),
        Fault(name="vectors left behind", plant=_left, causes=frozenset([LOST]), integrity=True),
        Fault(
            name="one vector for a batch",
            plant=_collapsed,
            causes=frozenset([COLLAPSE]),
            integrity=True,
        ),
        Fault(
            name="made of another text",
            plant=_stale,
            causes=frozenset([STALE]),
            verdicts=frozenset(["warn", "fail"]),
            integrity=True,
        ),
        Fault(
            name="index built with too little effort",
            plant=_poor_index,
            causes=frozenset([INDEX]),
            verdicts=frozenset(["warn"]),
        ),
    ]


def _swapped(share: float) -> Plant:
    async def plant(world: World, draw: Generator) -> Planting:
        stored = world.stored
        number = max(2, round(share * len(stored.ids)) // 2 * 2)
        places = draw.permutation(len(stored.ids))[:number]
        await stored.write(
            places.tolist(), stored.vectors[np.roll(places, number // 2)], before_hashing=False
        )
        return Planting(ids=frozenset(stored.ids[place] for place in places.tolist()))

    return plant


async def _shifted(world: World, _draw: Generator) -> Planting:
    """Every vector belongs to the text before it: the records agree, since they were made so."""
    stored = world.stored
    everything = list(range(len(stored.ids)))
    await stored.write(everything, np.roll(stored.vectors, 1, axis=0), before_hashing=True)
    return Planting()


async def _lost(world: World, draw: Generator) -> Planting:
    places = draw.permutation(len(world.stored.ids))[:5].tolist()
    await world.stored.delete(places)
    return Planting(ids=frozenset(world.stored.ids[place] for place in places))


async def _left(world: World, _draw: Generator) -> Planting:
    return Planting(ids=frozenset(await world.stored.add_strangers(5)))


async def _collapsed(world: World, draw: Generator) -> Planting:
    stored = world.stored
    first = int(draw.integers(0, len(stored.ids) - 16))
    places = list(range(first, first + 16))
    await stored.write(places, np.repeat(stored.vectors[places[:1]], 16, 0), before_hashing=True)
    return Planting(ids=frozenset(stored.ids[place] for place in places))


async def _stale(world: World, draw: Generator) -> Planting:
    stored = world.stored
    places = draw.permutation(len(stored.ids))[:5].tolist()
    texts = ["passage: An earlier edition. " + stored.texts[place] for place in places]
    vectors = await world.planted.answer([text[9:] for text in texts], "document")
    await stored.write(places, _unit(vectors), before_hashing=True)
    await stored.write_texts(places, texts)
    return Planting(ids=frozenset(stored.ids[place] for place in places))


async def _poor_index(world: World, _draw: Generator) -> Planting:
    await world.stored.build_index(" WITH (m = 2, ef_construction = 4)")
    return Planting()


def _document_faults(models: Models) -> list[Fault]:
    """Passages that were embedded otherwise; the records agree with what came."""
    ways: list[tuple[str, str, Answer]] = [
        ("another model", SWAP, models.other),
        ("lower case", EDIT, plain(models.e5, edit=str.lower)),
        ("NFKC and lower case", EDIT, plain(models.e5, edit=_compatible)),
        ("a limit of 128 tokens", CUT, plain(models.e5, limit=128)),
        ("no prefix", PREFIX, plain(models.e5, NO_PREFIXES)),
        ("the prefix of queries", PREFIX, plain(models.e5, SWAPPED)),
    ]
    # Of few passages a sample of eight sees none on most nights: found or not is told.
    found = [
        Fault(
            name=f"{share:.0%} embedded with {name}",
            plant=_embedded(answer, share),
            causes=frozenset([cause]),
            verdicts=frozenset(["fail", "warn"]),
            nights=1 if share == 1 else 4,
        )
        for name, cause, answer in ways
        for share in (0.01, 0.1, 1.0)
    ]
    found.append(
        Fault(
            name="10% sent without prefix, as recorded",
            plant=_sent_without_prefix(plain(models.e5, NO_PREFIXES)),
            causes=frozenset([PREFIX]),
            integrity=True,
        )
    )
    return found


def _compatible(text: str) -> str:
    """Take compatibility characters apart and capitals off, as clients of uncased models do."""
    return unicodedata.normalize("NFKC", text).lower()


def _embedded(answer: Answer, share: float) -> Plant:
    async def plant(world: World, draw: Generator) -> Planting:
        stored = world.stored
        number = max(1, round(share * len(stored.ids)))
        places = sorted(draw.permutation(len(stored.ids))[:number].tolist())
        vectors = await answer([stored.texts[place] for place in places], "document")
        await stored.write(places, _unit(vectors), before_hashing=True)
        return Planting()

    return plant


def _sent_without_prefix(answer: Answer) -> Plant:
    async def plant(world: World, draw: Generator) -> Planting:
        stored = world.stored
        places = sorted(draw.permutation(len(stored.ids))[: len(stored.ids) // 10].tolist())
        texts = [stored.texts[place] for place in places]
        await stored.write(places, _unit(await answer(texts, "document")), before_hashing=True)
        await stored.write_texts(places, texts)
        return Planting(ids=frozenset(stored.ids[place] for place in places))

    return plant


def _both(models: Models) -> list[Fault]:
    """Two faults at once."""

    def pair(name: str, causes: Sequence[str], *plants: Plant) -> Fault:
        async def plant(world: World, draw: Generator) -> Planting:
            planted = [await one(world, draw) for one in plants]
            return Planting(ids=frozenset().union(*(one.ids for one in planted)))

        return Fault(name=name, plant=plant, causes=frozenset(causes))

    swap = _answering(lambda *_: models.other)
    no_prefix = _answering(lambda *_: plain(models.e5, NO_PREFIXES))
    return [
        pair("another model, and bytes flipped", [SWAP, BROKEN], swap, _changed(0.01, _flipped)),
        pair("another model, and vectors lost", [SWAP, LOST], swap, _lost),
        pair("prefixes missing, and stored as fp16", [PREFIX, DTYPE], no_prefix, _as_fp16()),
        pair(
            "length x 2, and one vector for a batch",
            [NORM, COLLAPSE],
            _collapsed,
            _changed(0.1, lambda v: v * 2),
        ),
    ]


def _as_fp16() -> Plant:
    return _changed(1.0, lambda v: v.astype(np.float16).astype(np.float32), before_hashing=True)
