"""What may be said: an answer cut into sentences, each with citations that exist or marked.

Nothing that a model writes is believed. Citations of passages that were not given go, addresses
and HTML go, and a sentence that then cites nothing is marked as unsupported.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from search_app.answering.markdown import cleaned
from search_app.answering.types import PassageGiven, Sentence
from search_app.sentences import sentence_spans

_NUMBERS = r"\^?\d{1,6}(?:\s*[,、，;–-]\s*\^?\d{1,6})*"
_CITATION = re.compile(rf"\s*(?:\[{_NUMBERS}\]|［{_NUMBERS}］|【{_NUMBERS}】)(?![(:])")
_FOLLOWED = re.compile(rf"{_CITATION.pattern}(?=[^(:])")
_MAYBE = re.compile(r"\s*(?:[\[［【][^\]］】\n]{0,30})?\Z|\s*[\[［【]\^?\d")
_NUMBER = re.compile(r"\d+")
_MAY_END = re.compile(r"[.!?\n。．！？｡‼⁇⁈⁉]")
"""What every sentence that ends has, by the rule of ``sentence_spans``."""
_LEADING_MARK = re.compile(r"^(?:[-*+•・]\s+|#{1,6}\s+|\d{1,2}[.)]\s+|>\s+)+")
_EMPHASIS = re.compile(r"\*\*|__|(?<!\w)[*_](?=\S)|(?<=\S)[*_](?!\w)")

LONGEST_ANSWER = 8000
"""Characters after which a model is stopped."""


@dataclass(frozen=True, kw_only=True)
class Grounded:
    """A sentence, and what was taken out of it."""

    sentence: Sentence
    removed_citations: int
    removed_links: int


class Grounder:
    """Takes a model's text as it comes, and gives each sentence once it is whole."""

    def __init__(self, passages: Sequence[PassageGiven]) -> None:
        """Take the passages that were given."""
        self._numbers = frozenset(passage.number for passage in passages)
        self._known = frozenset(
            address
            for passage in passages
            for address in (passage.document.uri, passage.document.source)
            if address.startswith(("http://", "https://"))
        )
        self._text = ""
        self._any = False

    def add(self, text: str) -> Iterator[Grounded]:
        """Take more text; give the sentences that are whole now."""
        self._text += text
        yield from self._whole(final=False)

    def end(self) -> Iterator[Grounded]:
        """Give what is left."""
        yield from self._whole(final=True)

    def _whole(self, *, final: bool) -> Iterator[Grounded]:
        # Models send word by word, and most words cannot end a sentence.
        if not final and _MAY_END.search(self._text) is None:
            return
        # In one form, the one that the rule of sentences knows behind a full stop.
        self._text = (_CITATION if final else _FOLLOWED).sub(_plain, self._text)
        while True:
            end = _end_of_first(self._text, final=final)
            if end is None:
                return
            raw, self._text = self._text[:end], self._text[end:]
            # What stood behind it belongs between this sentence and the next.
            kept = raw.rstrip()
            self._text = raw[len(kept) :] + self._text if self._text else ""
            grounded = self._grounded(kept)
            if grounded is not None:
                self._any = True
                yield grounded

    def _grounded(self, raw: str) -> Grounded | None:
        lead = _lead(raw[: len(raw) - len(raw.lstrip())]) if self._any else ""
        plain = cleaned(raw.strip(), self._known)
        cited = [int(n) for c in _CITATION.findall(plain.text) for n in _NUMBER.findall(c)]
        text = _CITATION.sub("", plain.text).strip()
        text = " ".join(_EMPHASIS.sub("", _LEADING_MARK.sub("", text)).split())
        numbers = tuple(dict.fromkeys(n for n in cited if n in self._numbers))
        if not any(character.isalnum() for character in text):
            return None
        return Grounded(
            sentence=Sentence(
                text=text,
                citations=numbers,
                state="cited" if numbers else "unsupported",
                lead=lead,
            ),
            removed_citations=len({n for n in cited if n not in self._numbers}),
            removed_links=plain.removed,
        )


def _plain(citation: re.Match[str]) -> str:
    written = citation[0]
    space = written[: len(written) - len(written.lstrip())]
    return space + "".join(f"[{int(number)}]" for number in _NUMBER.findall(written))


def _end_of_first(text: str, *, final: bool) -> int | None:
    """Say where the first sentence ends, its citations included; None while that is not clear."""
    spans = sentence_spans(text)
    first = next(spans, None)
    if first is None:
        return None
    end = first[1]
    if end == len(text) and not final:
        return None
    # Citations behind the full stop belong to the sentence before it.
    while (citation := _CITATION.match(text, end)) is not None:
        end = citation.end()
    if not final and _MAYBE.match(text, end):
        return None
    return end


def _lead(space: str) -> str:
    if "\n" in space:
        return "\n\n" if space.count("\n") > 1 else "\n"
    return " " if space else ""


def joined(sentences: Sequence[Sentence]) -> str:
    """Write an answer as text, citations included."""
    return "".join(sentence.lead + sentence.marked for sentence in sentences).strip()
