"""How texts may have been changed on their way to the model, tried out on a few that moved.

A hypothesis is an edit of a text, or another role. Tonight's vector of the edited text tells two
things: equal to the vector of before, it says that *then* texts were sent like this; equal to
tonight's vector of the text itself, it says that the model reads texts like this *now*.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from search_app.consistency.asking import Asker
from search_app.consistency.types import Clause
from search_app.embedders.e5_tokenizer import TokenCounter
from search_app.errors import SpentUpError
from search_app.identity import distance
from search_app.types import Kind, ModelIdentity, Vector
from search_app.wording import gettext_noop

SAME = 1e-6
"""1 - cos up to which two vectors are one, rounding aside."""

RESTORED = 1e-3
"""1 - cos up to which a hypothesis has brought a vector back."""

TRIED = 3
"""Texts embedded again under each hypothesis."""

MOST_HYPOTHESES = 8

LONG_TOKENS = 64
"""A text of fewer tokens is cut by no limit that a model has."""

LIMITS = (256, 128)
"""Limits of tokens that models have, below the 512 of most."""

KEPT_SHARE = 2 / 3
"""What is left of a text to see whether its end is read at all."""

_EDITED = "text preprocessing"
_LINES = re.compile(r"\s*\n\s*")
_SPECIAL_TOKENS = 2


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A text in its role, its unit vector of before and tonight's (d), and the noise in 1 - cos.

    ``proved`` ones got their first vector from the model of the index; what is stored for a passage
    may have come from anything.
    """

    text: str
    kind: Kind
    stored: Vector
    fresh: Vector
    within: float
    proved: bool = True

    @property
    def between(self) -> float:
        """1 - cos of the two vectors."""
        return distance(self.stored, self.fresh)

    @property
    def moved(self) -> bool:
        """Whether they differ by more than sends of one night do."""
        return self.between > max(SAME, 3 * self.within)


def _own(kind: Kind) -> Kind:
    return kind


def _other(kind: Kind) -> Kind:
    return "query" if kind == "document" else "document"


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """One way in which a text may be changed; ``edit`` gives it, or the text where it does not.

    ``now`` and ``then`` are the sentences that are said where it holds; None where that direction
    proves nothing. ``role`` gives the kind that texts are sent as: their own unless it says so.
    ``long_only``: it changes long texts alone. ``about`` is set where it can only explain that the
    model answers otherwise, or only that passages were stored otherwise.
    """

    name: str
    cause: str
    edit: Callable[[str], str]
    then: Clause | None = None
    now: Clause | None = None
    role: Callable[[Kind], Kind] = _own
    long_only: bool = False
    about: Literal["model", "passages"] | None = None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What trying a hypothesis gave: of ``tried`` texts, how many speak for then and for now.

    For now speak only texts that the model itself has answered otherwise before.
    """

    hypothesis: Hypothesis
    tried: int
    then: int
    now: int


def hypotheses(identity: ModelIdentity, tokens: TokenCounter) -> list[Hypothesis]:
    """List what may be tried for a model, the likeliest first."""
    prefix = identity.document_prefix
    found = [
        Hypothesis(
            name="other prefix",
            cause="prefix",
            edit=lambda text: text,
            then=Clause(sentence=gettext_noop("the prefix of the other role was in use")),
            role=_other,
        )
    ]
    if prefix or identity.query_prefix:
        found.append(
            Hypothesis(
                name="no prefix",
                cause="prefix",
                edit=lambda text: text,
                then=Clause(sentence=gettext_noop("no prefix was in use")),
                role=lambda _kind: "bare",
            )
        )
    if prefix:
        found.append(
            Hypothesis(
                name="added prefix",
                cause="prefix",
                edit=lambda text: prefix + text,
                then=Clause(sentence=gettext_noop("the prefix is missing now")),
                about="model",
            )
        )
    found += [
        Hypothesis(
            name="lower case",
            cause=_EDITED,
            edit=str.lower,
            then=Clause(sentence=gettext_noop("texts were sent in lower case")),
            now=Clause(sentence=gettext_noop("texts are sent in lower case now")),
        ),
        Hypothesis(
            name="NFKC",
            cause=_EDITED,
            edit=lambda text: unicodedata.normalize("NFKC", text),
            then=Clause(sentence=gettext_noop("texts were sent in Unicode form NFKC")),
            now=Clause(sentence=gettext_noop("texts are sent in Unicode form NFKC now")),
        ),
        Hypothesis(
            name="newlines as spaces",
            cause=_EDITED,
            edit=lambda text: _LINES.sub(" ", text),
            then=Clause(sentence=gettext_noop("texts were sent with newlines as spaces")),
            now=Clause(sentence=gettext_noop("texts are sent with newlines as spaces now")),
        ),
        Hypothesis(
            name="blanks stripped",
            cause=_EDITED,
            edit=lambda text: " ".join(text.split()),
            then=Clause(sentence=gettext_noop("texts were sent with blanks stripped")),
            now=Clause(sentence=gettext_noop("texts are sent with blanks stripped now")),
        ),
        Hypothesis(
            name="end cut off",
            cause="truncation",
            edit=lambda text: _without_end(text, tokens),
            now=Clause(sentence=gettext_noop("the ends of long texts make no difference any more")),
            long_only=True,
            about="model",
        ),
    ]
    found += [_limited(limit, prefix, tokens) for limit in LIMITS if _is_below(limit, identity)]
    return found


def _without_end(text: str, tokens: TokenCounter) -> str:
    return first_tokens(text, int(tokens.count_tokens(text) * KEPT_SHARE), tokens)


def _limited(limit: int, prefix: str, tokens: TokenCounter) -> Hypothesis:
    def cut(text: str) -> str:
        # The prefix counts, and may share a token with the text.
        return first_tokens(prefix + text, limit - _SPECIAL_TOKENS, tokens)[len(prefix) :]

    return Hypothesis(
        name=f"first {limit} tokens",
        cause="truncation",
        edit=cut,
        then=Clause(
            sentence=gettext_noop("texts were cut at %(limit)s tokens"),
            values={"limit": f"{limit:,}"},
        ),
        long_only=True,
        about="passages",
    )


def _is_below(limit: int, identity: ModelIdentity) -> bool:
    return identity.max_tokens is None or limit < identity.max_tokens


def first_tokens(text: str, number: int, tokens: TokenCounter) -> str:
    """Give the beginning of a text, at most so many tokens of it."""
    offsets = tokens.token_offsets(text)
    return text if len(offsets) <= number or number < 1 else text[: offsets[number - 1][1]]


def plausible(
    tried: Sequence[Hypothesis], trials: Sequence[Trial], tokens: TokenCounter
) -> list[Hypothesis]:
    """Leave those that can explain every text that moved: an edit must change all of them.

    So that a model which was swapped, which moves everything, is not taken for one of them.
    """
    moved = [trial for trial in trials if trial.moved]
    if not moved:
        return []
    all_long = min(tokens.count_tokens(trial.text) for trial in moved) >= LONG_TOKENS
    still = [trial for trial in trials if trial.proved and not trial.moved]
    # What nobody can mean would take the places of what somebody can: only so many are tried.
    other = "passages" if any(trial.proved for trial in moved) else "model"
    left = []
    for hypothesis in tried:
        if hypothesis.about == other:
            continue
        if hypothesis.cause == "prefix" or (hypothesis.long_only and all_long):
            left.append(hypothesis)
        elif not hypothesis.long_only and _changes_all(hypothesis, moved):
            # An edit that is made now moves whatever it changes; one that was made then need not
            # have been made of all texts.
            spared = any(hypothesis.edit(trial.text) != trial.text for trial in still)
            left.append(replace(hypothesis, now=None) if spared else hypothesis)
    return left[:MOST_HYPOTHESES]


def _changes_all(hypothesis: Hypothesis, trials: Sequence[Trial]) -> bool:
    return all(hypothesis.edit(trial.text) != trial.text for trial in trials)


async def try_out(
    asker: Asker, tried: Sequence[Hypothesis], trials: Sequence[Trial]
) -> list[Outcome]:
    """Embed a few texts that moved under each hypothesis. Ends early when no more may be sent.

    Raises:
        EmbedderError: the model does not answer.
    """
    moved = sorted((trial for trial in trials if trial.moved), key=lambda trial: -trial.between)
    found = []
    for hypothesis in tried:
        try:
            outcome = await _try(asker, hypothesis, moved)
        except SpentUpError:
            break
        if outcome.tried:
            found.append(outcome)
    return found


async def _try(asker: Asker, hypothesis: Hypothesis, moved: Sequence[Trial]) -> Outcome:
    then, now, number = 0, 0, 0
    for trial in moved:
        edited = hypothesis.edit(trial.text)
        kind = hypothesis.role(trial.kind)
        if not edited.strip() or (edited == trial.text and kind == trial.kind):
            continue
        vector = await asker.alone(edited, kind)
        number += 1
        then += hypothesis.then is not None and _restores(trial, vector)
        now += hypothesis.now is not None and trial.proved and _is_same(trial, vector)
        if number == TRIED:
            break
    return Outcome(hypothesis=hypothesis, tried=number, then=int(then), now=int(now))


def _restores(trial: Trial, vector: Vector) -> bool:
    return distance(trial.stored, vector) <= min(RESTORED, trial.between / 4) + 3 * trial.within


def _is_same(trial: Trial, vector: Vector) -> bool:
    return distance(trial.fresh, vector) <= max(SAME, 3 * trial.within)
