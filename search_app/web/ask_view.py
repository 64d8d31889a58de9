"""An answer as its page shows it: passages with what is quoted marked, sentences in blocks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlencode
from uuid import UUID

from markupsafe import Markup

from search_app.answering import wording
from search_app.answering.types import (
    Answer,
    AnswerNotice,
    PassageGiven,
    Question,
    Retrieved,
    Sentence,
    Turn,
)
from search_app.types import Notice
from search_app.web.highlight import highlight, snippet
from search_app.web.hits import document_lang, source_parts
from search_app.web.plain import is_markdown, plain, unmarked
from search_app.web.search_page import NOTICES as SEARCH_NOTICES
from search_app.web.translation import gettext_noop

NOTICES = {
    **SEARCH_NOTICES,
    "generator_failed": gettext_noop("The model did not answer as it should"),
    "not_rewritten": gettext_noop("The model made no query of the conversation; a rule did"),
    "support_unknown": gettext_noop("How near sentences are to their sources is not known"),
}
"""The kinds of notices that a page tells, and in which words."""

TURNS_CARRIED = 20
"""Turns of a conversation that a follow-up brings along."""

BlockKind = Literal["text", "quote", "note", "removed"]


@dataclass(frozen=True, kw_only=True)
class Citation:
    """The number of a passage, and the place on the page that it leads to."""

    number: int
    target: str


@dataclass(frozen=True, kw_only=True)
class Said:
    """A sentence with its citations; ``place`` counts the sentences of an answer from 0."""

    place: int
    sentence: Sentence
    citations: Sequence[Citation]


@dataclass(frozen=True, kw_only=True)
class Block:
    """A paragraph, a quotation, a note, or what was removed; ``lang`` is empty if not known."""

    kind: BlockKind
    lang: str
    said: Sequence[Said]


@dataclass(frozen=True, kw_only=True)
class ShownGiven:
    """A passage that was given, and where it can be read in its document."""

    given: PassageGiven
    url: str
    trail: Sequence[str]
    snippet: Markup
    text: Markup
    folder: str
    file: str
    lang: str
    cited: bool


@dataclass(frozen=True, kw_only=True)
class ShownAnswer:
    """Everything that the template of an answer reads; ``answer`` is None while it is written.

    ``address`` is where it is shown again; empty where it is not kept.
    """

    question: str
    query: str
    rewriter: str
    earlier: Sequence[Turn]
    collection: str
    filters: Sequence[str]
    generator: str
    model: str
    index_id: UUID
    passages: Sequence[ShownGiven]
    notices: Sequence[tuple[str, AnswerNotice | Notice]]
    address: str
    answer: Answer | None = None
    blocks: Sequence[Block] = field(default_factory=list)

    @property
    def carried(self) -> Sequence[Turn]:
        """What a follow-up brings along, this question last."""
        text = self.answer.text if self.answer else ""
        return [*self.earlier, Turn(question=self.question, answer=text)][-TURNS_CARRIED:]


def of_retrieved(question: Question, found: Retrieved, *, kept: bool) -> ShownAnswer:
    """Prepare what is known before the first sentence."""
    address = _address(found.answer_id) if kept else ""
    return ShownAnswer(
        question=question.text.strip(),
        query=found.query,
        rewriter=found.rewriter,
        earlier=tuple(question.conversation),
        collection=found.collection,
        filters=tuple(question.filters),
        generator=found.generator,
        model=found.model,
        index_id=found.index_id,
        passages=_passages(found.passages, (), found.query, found.collection, address),
        notices=_told(found.notices),
        address=address,
    )


def of_answer(answer: Answer) -> ShownAnswer:
    """Prepare a whole answer."""
    address = _address(answer.id) if answer.stored else ""
    return ShownAnswer(
        question=answer.question,
        query=answer.query,
        rewriter=answer.rewriter,
        earlier=answer.conversation,
        collection=answer.collection,
        filters=answer.filters,
        generator=answer.generator,
        model=answer.model,
        index_id=answer.index_id,
        passages=_passages(
            answer.passages, answer.sentences, answer.query, answer.collection, address
        ),
        notices=_told(answer.notices),
        address=address,
        answer=answer,
        blocks=list(blocks(answer)),
    )


def blocks(answer: Answer) -> Iterator[Block]:
    """Put sentences into the blocks that they are shown in."""
    languages = {each.number: each.document.language for each in answer.passages}
    gathered: list[Said] = []
    lang = ""
    for place, sentence in enumerate(answer.sentences):
        block = block_of(place, sentence, answer.question, languages, whole=True)
        if gathered and begins_block(sentence):
            yield Block(kind="text", lang=lang, said=gathered)
            gathered = []
        if block.kind == "text":
            gathered = [*gathered, *block.said]
            lang = block.lang
        else:
            yield block
    if gathered:
        yield Block(kind="text", lang=lang, said=gathered)


def begins_block(sentence: Sentence) -> bool:
    """Say whether a sentence stands apart from the one before it."""
    return sentence.state in ("quoted", "note", "removed") or "\n" in sentence.lead


def block_of(
    place: int, sentence: Sentence, question: str, languages: dict[int, str], *, whole: bool
) -> Block:
    """Make a block of one sentence.

    ``languages`` are those of the passages by number. With ``whole``, citations of quotations lead
    to the quoted words, which are marked once the answer is whole.
    """
    kind: BlockKind = "text"
    lang = "ja" if wording.language_of(question) == "ja" else ""
    if sentence.state == "quoted":
        kind = "quote"
        lang = document_lang(languages.get(sentence.citations[0], "und"))
    elif sentence.state == "removed":
        kind, lang = "removed", ""
    elif sentence.state == "note":
        kind, lang = "note", wording.language_of(sentence.text)
    marked = whole and sentence.quote_start is not None
    citations = [
        Citation(number=number, target=f"quote-{place}" if marked else f"passage-{number}")
        for number in sentence.citations
    ]
    said = Said(place=place, sentence=sentence, citations=citations)
    return Block(kind=kind, lang=lang, said=[said])


def _passages(
    passages: Sequence[PassageGiven],
    sentences: Sequence[Sentence],
    query: str,
    collection: str,
    address: str,
) -> list[ShownGiven]:
    cited = {number for sentence in sentences for number in sentence.citations}
    shown = []
    for given in passages:
        folder, file = source_parts(given.document.source, given.document.uri)
        pairs = [("chunk", str(given.chunk_ids[0])), ("q", query), ("collection", collection)]
        if address:
            pairs.append(("answer", address.rpartition("/")[2]))
        quotes = [
            (each.quote_start, each.quote_end, place)
            for place, each in enumerate(sentences)
            if each.citations == (given.number,)
            and each.quote_start is not None
            and each.quote_end is not None
        ]
        markdown = is_markdown(given.document.media_type)
        shown.append(
            ShownGiven(
                given=given,
                url=f"/documents/{given.document.id}?{urlencode(pairs)}#chunk-{given.chunk_ids[0]}",
                trail=[each for each in given.heading_path if each != given.document.title],
                snippet=snippet(
                    plain(given.text, given.heading_path) if markdown else given.text, query
                ),
                text=_marked(given.text, sorted(quotes), query, markdown=markdown),
                folder=folder,
                file=file,
                lang=document_lang(given.document.language),
                cited=given.number in cited,
            )
        )
    return shown


def _marked(
    text: str, quotes: Sequence[tuple[int, int, int]], query: str, *, markdown: bool
) -> Markup:
    """Mark what is quoted; where nothing is, the words of the query."""

    def readable(part: str) -> str:
        return unmarked(part) if markdown else part

    if not quotes:
        return highlight(readable(text).strip("\r\n"), query)
    parts: list[Markup] = []
    done = 0
    for start, end, place in quotes:
        if start < done or end > len(text):
            continue
        parts.append(Markup("{}").format(readable(text[done:start])))
        parts.append(
            Markup('<mark class="quoted" id="quote-{}" tabindex="-1">{}</mark>').format(
                place, text[start:end]
            )
        )
        done = end
    parts.append(Markup("{}").format(readable(text[done:])))
    return Markup("").join(parts).strip("\r\n")


def _told(
    notices: Sequence[AnswerNotice] | Sequence[Notice],
) -> list[tuple[str, AnswerNotice | Notice]]:
    # What was removed is counted beside them, in the language of the page.
    return [(NOTICES[each.kind], each) for each in notices if each.kind in NOTICES]


def _address(answer_id: UUID) -> str:
    return f"/answers/{answer_id}"
