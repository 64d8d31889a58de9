"""What may have been done to texts, how spaces are related, and what a check may spend."""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from search_app.consistency.asking import Asker
from search_app.consistency.checking import allowance
from search_app.consistency.hypotheses import Trial, hypotheses, plausible, try_out
from search_app.consistency.spaces import Relation, compare_spaces
from search_app.consistency.subject import CheckRequest
from search_app.embedders.e5_tokenizer import TokenCounter
from search_app.embedders.hashing import HashingEmbedder
from search_app.embedders.metering import Allowance
from search_app.errors import InvalidInputError, SpentUpError
from search_app.types import Kind, Matrix, ModelIdentity, ModelVersion

TOKENS = TokenCounter()
IDENTITY = ModelIdentity(
    provider="test",
    model="test",
    revision="1",
    dimensions=256,
    max_tokens=512,
    document_prefix="passage: ",
    query_prefix="query: ",
)
LONG = " ".join(f"Word{number} of a long text" for number in range(60))
TEXTS = ["The Night Train To Oslo", "Tea And Cake", LONG]


class Client(HashingEmbedder):
    """Sends texts with prefixes, as they are or edited."""

    def __init__(self, edit: Callable[[str, Kind], str]) -> None:
        super().__init__(256)
        self._edit = edit

    def text_sent(self, text: str, kind: Kind) -> str:
        return self._edit(text, kind)


PREFIXES: dict[Kind, str] = {"document": "passage: ", "query": "query: ", "bare": ""}


def faithful(text: str, kind: Kind) -> str:
    return PREFIXES[kind] + text


def lowered(text: str, kind: Kind) -> str:
    return PREFIXES[kind] + text.lower()


def bare(text: str, _kind: Kind) -> str:
    return text


def cut(text: str, kind: Kind) -> str:
    return PREFIXES[kind] + " ".join(text.split()[:100])


async def named(
    then: Callable[[str, Kind], str],
    now: Callable[[str, Kind], str],
    *,
    proved: bool,
    texts: Sequence[str] = TEXTS,
) -> set[tuple[str, str]]:
    """Try everything on texts sent once by one client and now by another; give what held."""
    before, after = Client(then), Client(now)
    stored = await before.embed(texts, "document")
    fresh = await after.embed(texts, "document")
    trials = [
        Trial(text=text, kind="document", stored=one, fresh=other, within=0.0, proved=proved)
        for text, one, other in zip(texts, stored, fresh, strict=True)
    ]
    likely = plausible(hypotheses(IDENTITY, TOKENS), trials, TOKENS)
    found = await try_out(Asker(after, 256, TOKENS), likely, trials)
    return {
        (outcome.hypothesis.name, direction)
        for outcome in found
        for direction, held in (("then", outcome.then), ("now", outcome.now))
        if held == outcome.tried
    }


async def test_an_edit_is_told_from_where_it_was_made() -> None:
    assert await named(lowered, faithful, proved=False) == {("lower case", "then")}
    assert await named(faithful, lowered, proved=True) == {("lower case", "now")}
    # What is stored may come from anything: it proves nothing about what is sent now.
    assert await named(faithful, lowered, proved=False) == set()


async def test_prefixes_that_were_lost_are_found_both_ways() -> None:
    assert ("no prefix", "then") in await named(bare, faithful, proved=False)
    assert ("added prefix", "then") in await named(faithful, bare, proved=True)


async def test_a_limit_moves_long_texts_alone() -> None:
    assert await named(faithful, cut, proved=True) == {("end cut off", "now")}


async def test_a_cut_of_passages_is_found_beside_every_edit_that_could_explain_them() -> None:
    text = " ".join(f"Ｗord{number}\n of  text" for number in range(90))

    def first_tokens_only(sent: str, kind: Kind) -> str:
        whole = PREFIXES[kind] + sent
        offsets = TOKENS.token_offsets(whole)
        return whole[: offsets[125][1]] if len(offsets) > 126 else whole

    found = await named(first_tokens_only, faithful, proved=False, texts=[text])
    assert ("first 128 tokens", "then") in found


async def test_nothing_is_tried_where_nothing_moved_and_edits_cannot_explain_a_swap() -> None:
    assert await named(faithful, faithful, proved=True) == set()

    def other(text: str, _kind: Kind) -> str:
        return f"another model reads {text} otherwise"

    texts = [*TEXTS, "no capitals here"]
    assert await named(faithful, other, proved=True, texts=texts) == set()


def unit(vectors: Any) -> Matrix:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


@pytest.mark.parametrize("texts", [12, 40, 300])
def test_spaces_are_told_apart_with_fewer_texts_than_dimensions(texts: int) -> None:
    draw = np.random.default_rng(3)
    one = unit(draw.normal(size=(texts, 128)))
    turn, _ = np.linalg.qr(draw.normal(size=(128, 128)))
    rotated = compare_spaces(one, unit(one @ turn))
    assert rotated is not None
    assert rotated.relation is Relation.ROTATED
    coarser = compare_spaces(one, unit(one + 0.02 * draw.normal(size=one.shape)))
    assert coarser is not None
    assert coarser.relation is Relation.RELATED
    stranger = compare_spaces(one, unit(draw.normal(size=(texts, 64))))
    assert stranger is not None
    assert stranger.relation is Relation.UNRELATED
    assert compare_spaces(one[:11], one[:11]) is None


async def test_no_more_is_sent_than_allowed() -> None:
    asker = Asker(HashingEmbedder(64), 64, TOKENS, Allowance(texts=2))
    await asker.alone("one", "query")
    await asker.alone("two", "query")
    with pytest.raises(SpentUpError, match="no more than 2 texts"):
        await asker.alone("three", "query")
    assert asker.meter.sent.texts == 2


async def test_no_more_is_spent_than_allowed() -> None:
    text = "the night train to Oslo leaves at nine"
    price = 1e6 / TOKENS.count_tokens(text)
    asker = Asker(HashingEmbedder(64), 64, TOKENS, Allowance(money=2.5, price=price))
    await asker.alone(text, "query")
    await asker.alone(text, "query")
    assert asker.meter.sent.cost == pytest.approx(2)
    with pytest.raises(SpentUpError, match=r"no more than 2\.5 was to be spent"):
        await asker.alone(text, "query")
    assert asker.meter.sent.tokens == 2 * TOKENS.count_tokens(text)


def test_a_budget_needs_a_price() -> None:
    request = CheckRequest(collection="default", budget=1.5, most_texts=7)
    with pytest.raises(InvalidInputError, match="UNMOVED_EMBEDDING_PRICE"):
        allowance(request, version("openai:some"), None)
    assert allowance(request, version("openai:some"), 0.02) == Allowance(
        texts=7, money=1.5, price=0.02
    )
    assert allowance(request, version("bundled"), None) == Allowance(texts=7)


def version(spec: str) -> ModelVersion:
    return ModelVersion(
        id=uuid4(),
        spec=spec,
        identity=IDENTITY,
        noise_floor=0.0,
        bit_stable=True,
    )
