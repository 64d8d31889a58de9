"""Whether two answers to one question rest on the same places of the documents.

Two citations are of the same place where they share a passage, or characters of one document, or
quote the same words: indexes may cut documents differently, and a document that was read again has
other passages with the same text.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from search_app.answering.asking import Answerer
from search_app.answering.retrieving import Retriever
from search_app.answering.types import Answer, PassageGiven, Question
from search_app.errors import InvalidInputError


@dataclass(frozen=True, kw_only=True)
class Place:
    """A place of a document that an answer cites by ``number``; the quoted words, if it quotes."""

    number: int
    document_id: UUID
    uri: str
    title: str
    chunk_ids: Sequence[UUID]
    char_start: int
    char_end: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Stability:
    """Two answers to one question. ``gone`` are places that only ``a`` cites, ``new`` only ``b``.

    ``kept`` are places that both cite, as ``a`` numbers them.
    """

    a: Answer
    b: Answer
    kept: Sequence[Place]
    gone: Sequence[Place]
    new: Sequence[Place]

    @property
    def changed(self) -> bool:
        """Whether other places are cited."""
        return bool(self.gone or self.new)


@dataclass(frozen=True, kw_only=True)
class Moved:
    """A logged question whose cited passages would not be given to an answer any more."""

    answer_id: UUID
    question: str
    gone: Sequence[Place]


@dataclass(frozen=True, kw_only=True)
class Again:
    """Logged questions asked again: of ``asked``, ``moved`` would have to cite other passages.

    ``skipped`` could not be asked without paying a model, or as they were asked then.
    """

    asked: int = 0
    skipped: int = 0
    moved: Sequence[Moved] = field(default_factory=tuple)


async def compare_indexes(answerer: Answerer, question: Question, index: str) -> Stability:
    """Answer a question from the active index and from another one, and compare.

    Raises: as ``Answerer.ask``.
    """
    if question.index is not None:
        raise InvalidInputError("name one index to compare the active one with, not two")
    first = await answerer.answer(replace(question, logged=False))
    second = await answerer.answer(replace(question, index=index, logged=False))
    return compared(first, second)


async def compare_with_now(
    answerer: Answerer, answer: Answer, *, index: str | None = None
) -> Stability:
    """Ask the question of a kept answer again, in the same way, and compare.

    Raises: as ``Answerer.ask``.
    """
    again = await answerer.answer(
        replace(question_of(answer), index=index, generator=answer.generator)
    )
    return compared(answer, again)


def question_of(answer: Answer) -> Question:
    """Give the question that an answer answers, as it was searched for."""
    return Question(
        text=answer.query,
        collection=answer.collection,
        filters=answer.filters,
        mode=answer.mode,
        passages=answer.most_passages,
        budget=answer.budget,
        logged=False,
    )


def compared(first: Answer, second: Answer) -> Stability:
    """Compare what two answers cite."""
    before, after = cited_places(first), cited_places(second)
    gone = [place for place in before if not any(_same(place, other) for other in after)]
    return Stability(
        a=first,
        b=second,
        kept=[place for place in before if place not in gone],
        gone=gone,
        new=[place for place in after if not any(_same(place, other) for other in before)],
    )


def cited_places(answer: Answer) -> list[Place]:
    """Give the places that an answer cites: of a quotation its own, else the whole passage's."""
    by_number = {passage.number: passage for passage in answer.passages}
    places: dict[tuple[int, int, int], Place] = {}
    for sentence in answer.sentences:
        for number in sentence.citations:
            place = _place(by_number[number], sentence.quote_start, sentence.quote_end)
            places.setdefault((number, place.char_start, place.char_end), place)
    return sorted(places.values(), key=lambda place: (place.number, place.char_start))


async def moved_since(retriever: Retriever, answers: Sequence[Answer], *, embed: bool) -> Again:
    """Retrieve again for the questions of kept answers; nothing is written, and no model paid.

    A question counts as moved where a passage that its answer cites is not among those that an
    answer would be given now. Without ``embed`` only questions whose vectors are kept are asked.

    Raises:
        EmbedderError: the model does not answer.
        StoreError: the store does not answer.
        CatalogError: the catalog does not answer.
    """
    asked = skipped = 0
    moved = []
    for answer in answers:
        found = await retriever.passages(question_of(answer), embed=embed)
        if found is None or any(each.kind == "not_semantic" for each in found[0].notices):
            skipped += 1
            continue
        asked += 1
        _, given = found
        now = [_place(passage, None, None) for passage in given]
        gone = [
            place
            for place in cited_places(answer)
            if not any(_same(place, other) or place.text in other.text for other in now)
        ]
        if gone:
            moved.append(Moved(answer_id=answer.id, question=answer.question, gone=gone))
    return Again(asked=asked, skipped=skipped, moved=tuple(moved))


def _place(passage: PassageGiven, start: int | None, end: int | None) -> Place:
    low, high = 0 if start is None else start, len(passage.text) if end is None else end
    quoted = start is not None
    return Place(
        number=passage.number,
        document_id=passage.document.id,
        uri=passage.document.uri,
        title=passage.document.title,
        chunk_ids=() if quoted else tuple(passage.chunk_ids),
        char_start=passage.char_start + low,
        char_end=passage.char_start + high if quoted else passage.char_end,
        text=passage.text[low:high],
    )


def _same(one: Place, other: Place) -> bool:
    if set(one.chunk_ids) & set(other.chunk_ids):
        return True
    if one.document_id == other.document_id:
        return one.char_start < other.char_end and other.char_start < one.char_end
    return one.uri == other.uri and one.text == other.text
