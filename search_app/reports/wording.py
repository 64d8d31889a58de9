"""What a check comes to, in words for people who know no statistics.

Sentences are marked for translation and have places for values; whoever shows them fills these in.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from search_app.types import JSON
from search_app.wording import gettext_noop


@dataclass(frozen=True, kw_only=True)
class Said:
    """A sentence to translate with the values in it; one that is ``foreign`` is only in English."""

    sentence: str
    values: Mapping[str, JSON] = field(default_factory=dict)
    foreign: bool = False


@dataclass(frozen=True, kw_only=True)
class Headline:
    """What happened, whether to worry, what to do."""

    what: Said
    worry: Said
    advice: Said


@dataclass(frozen=True, kw_only=True)
class Label:
    """What a verdict is called, and the name of the sign that it is shown with."""

    text: str
    sign: str


VERDICTS: Mapping[str, Label] = {
    "stable": Label(text=gettext_noop("Stable"), sign="stable"),
    "warn": Label(text=gettext_noop("Warning"), sign="warn"),
    "inconclusive": Label(text=gettext_noop("Inconclusive"), sign="inconclusive"),
    "fail": Label(text=gettext_noop("Failed"), sign="fail"),
    "unknown": Label(text=gettext_noop("Unknown"), sign="unknown"),
    "first": Label(
        text=gettext_noop("References are set; the next check can say more"), sign="inconclusive"
    ),
}
"""Verdicts of checks; ``unknown`` is where there is none, or none that still counts.

``first`` is where the only check found nothing to compare with, and set it.
"""

_Three = tuple[str, str, str]

_STABLE: _Three = (
    gettext_noop(
        "Searches still find what they found before: of %(sampled)s questions that were asked "
        "again, none finds other documents."
    ),
    gettext_noop(
        "There is no reason to worry. What can have changed unseen is at most %(most)s in 100 "
        "questions (with 95%% certainty)."
    ),
    gettext_noop("There is nothing to do."),
)

_NOTHING: _Three = (
    gettext_noop("Nothing wrong was found."),
    gettext_noop("No question was asked again, so nothing is known about results."),
    gettext_noop("Check again."),
)

_FIRST: _Three = (
    gettext_noop("This was the first check of this index: it noted what questions find today."),
    gettext_noop(
        "Nothing wrong was found, but there was nothing to compare with yet, so it says nothing "
        "about whether results changed."
    ),
    gettext_noop("Check again, tomorrow for instance. From then on there is something to compare."),
)

_DRIFTED: _Three = (
    gettext_noop(
        "Searches find other documents than before: those of %(changed)s in %(sampled)s "
        "questions that were asked again."
    ),
    gettext_noop("Yes, this matters: it is more than chance, and more than asking twice explains."),
    gettext_noop(
        "Look below at the questions that changed most, and at the causes with what to do "
        "about each. If the new results are right, a person can accept them."
    ),
)

_PASSAGES: _Three = (
    gettext_noop(
        "%(moved)s of %(embedded)s passages get other vectors now than those that are stored."
    ),
    gettext_noop("A little: results held so far, but new passages and old ones may not match."),
    gettext_noop("The causes below say why that may be, and what to do about it."),
)

_PASSAGES_SURELY: _Three = (
    _PASSAGES[0],
    gettext_noop(
        "Yes, this matters: what is stored is not what the model makes of these passages, so they "
        "may be found wrongly, or not at all."
    ),
    _PASSAGES[2],
)

_STILL: _Three = (
    gettext_noop(
        "Earlier checks found that searches find other documents than before; in this one no "
        "question could be asked again."
    ),
    _DRIFTED[1],
    _DRIFTED[2],
)

_KINDS: Mapping[str, _Three] = {
    "model_changed": (
        gettext_noop("The model that answers now is not the one that this index was made with."),
        gettext_noop(
            "Yes, this matters: what is stored and what is asked do not fit together any more, so "
            "searches can show the wrong documents."
        ),
        gettext_noop(
            "Add no documents for now. Bring the former model back; or build an index with the new "
            "one, compare the two, and switch over."
        ),
    ),
    "drifted": _DRIFTED,
    "corrupt": (
        gettext_noop("%(broken)s stored vectors are missing, or are not what was written."),
        gettext_noop(
            "Yes, this matters: the passages that they stand for may be found wrongly, or not at "
            "all. Other passages are not affected."
        ),
        gettext_noop("Have them made again with ingest reconcile --repair, then check again."),
    ),
    "too_few_references": (
        gettext_noop(
            "Too few questions could be asked again to tell: %(sampled)s of the %(references)s "
            "that are known."
        ),
        gettext_noop("Nobody can say from this whether results changed."),
        gettext_noop("See below what was not checked and why, mend that, and check again."),
    ),
    "changes_without_alarm": (
        gettext_noop(
            "%(changed)s of %(sampled)s questions find other documents than before. That is too "
            "few to be certain."
        ),
        gettext_noop("Perhaps: it can be the beginning of a change, or a rare exception."),
        gettext_noop("Check again: a few nights settle it. Until then do not count on results."),
    ),
    "unreachable": (
        gettext_noop("The check could not be finished: something that it needs did not answer."),
        gettext_noop("Nobody knows whether results still hold; nothing says that they do not."),
        gettext_noop("See below what did not answer, mend that, and check again."),
    ),
    "noisy": (
        gettext_noop(
            "The same question, asked twice, finds different documents: %(unsteady)s of "
            "%(repeated)s questions."
        ),
        gettext_noop(
            "Nothing is broken, but two people who ask the same can be shown different results."
        ),
        gettext_noop("The causes below say what steadies the answers."),
    ),
    "new_build": (
        gettext_noop(
            "A new build of the same model answers: its vectors differ a little from those stored."
        ),
        gettext_noop("Hardly: the questions that were asked again find the same documents."),
        gettext_noop("Pin the version of the model. Accept the new build only on purpose."),
    ),
    "index_recall_fell": (
        gettext_noop("The fast index misses documents that an exact search finds."),
        gettext_noop("A little: some searches lack results that they should have."),
        gettext_noop("Rebuild the index; nothing has to be embedded again."),
    ),
    "passages_differ": _PASSAGES,
    "stale_text": (
        gettext_noop("%(stale)s stored vectors were made of texts that have changed since."),
        gettext_noop("A little: those passages are found by what they used to say."),
        gettext_noop("Ingest the documents again."),
    ),
    "noise_above_baseline": (
        gettext_noop("The model wavers more than it used to when it is given the same text twice."),
        gettext_noop(
            "Not yet: results held. It can mean that two versions of the model answer by turns."
        ),
        gettext_noop("Watch the next checks. If it stays, ask who runs the model."),
    ),
}
"""For every kind of finding: what happened, whether to worry, what to do."""

LAYERS: Mapping[str, str] = {
    "integrity": gettext_noop("Stored vectors"),
    "stored vectors": gettext_noop("Stored vectors"),
    "canaries": gettext_noop("The model"),
    "references": gettext_noop("Reference questions"),
    "queries": gettext_noop("Questions"),
    "queries that differ": gettext_noop("Questions that differ"),
    "documents": gettext_noop("Passages embedded again"),
    "the approximate index": gettext_noop("The fast index"),
    "passages": gettext_noop("Passages embedded again"),
    "causes": gettext_noop("Causes"),
}
"""What the parts of a check are called."""

FAULTS: Mapping[str, str] = {
    "missing": gettext_noop("Missing"),
    "orphaned": gettext_noop("Belong to nothing"),
    "altered": gettext_noop("Not what was written"),
    "not_finite": gettext_noop("Not numbers"),
    "zero": gettext_noop("Zero"),
    "norm": gettext_noop("Of another length"),
    "zero_tail": gettext_noop("Ending in zeros"),
    "grid": gettext_noop("Rounded to a coarser number format"),
    "another_prefix": gettext_noop("Made with another prefix"),
    "one_vector_for_different_texts": gettext_noop("One vector for different texts"),
    "stale_fields": gettext_noop("Fields that have changed since"),
    "stale_text": gettext_noop("Texts that have changed since"),
}
"""What can be wrong with stored vectors."""

UNKNOWN_CAUSE = (
    gettext_noop("unknown"),
    gettext_noop("look at the worst queries below; keep the index as it is until it is clear"),
)
"""What search_app/consistency/causes.py says where nothing explains a difference."""

_NEW_REFERENCES = re.compile(r"(\d+) new reference queries were set; they are compared from .*")
_NOTHING_BEFORE = "queries: there was nothing to compare with before this check"


def headline(report: Mapping[str, JSON]) -> Headline:
    """Say a whole check in three sentences."""
    findings = report["findings"]
    values = _values(report)
    if not findings:
        three = _STABLE if values["sampled"] else _NOTHING
    elif findings[0]["kind"] == "too_few_references" and not values["references"]:
        three = _FIRST
    elif findings[0]["kind"] == "drifted" and not values["sampled"]:
        three = _STILL
    elif findings[0]["kind"] == "passages_differ" and findings[0]["severity"] == "fail":
        three = _PASSAGES_SURELY
    elif findings[0]["kind"] in _KINDS:
        three = _KINDS[findings[0]["kind"]]
    else:
        return Headline(
            what=Said(sentence=str(report["sentence"]), foreign=True),
            worry=Said(sentence=gettext_noop("See below what was found.")),
            advice=Said(sentence=gettext_noop("The causes below say what to do.")),
        )
    what, worry, advice = (Said(sentence=sentence, values=values) for sentence in three)
    return Headline(what=what, worry=worry, advice=advice)


def also(report: Mapping[str, JSON]) -> Sequence[Said]:
    """Say what else was found, each in a sentence."""
    values = _values(report)
    said = []
    for finding in report["findings"][1:]:
        three = _KINDS.get(finding["kind"])
        if three is None:
            said.append(Said(sentence=finding["sentence"], foreign=True))
        else:
            said.append(Said(sentence=three[0], values=values))
    return said


def unchecked(reason: str) -> tuple[str | None, Said]:
    """Say what was not checked: the part of the check where it is known, and why."""
    new = _NEW_REFERENCES.fullmatch(reason)
    if new:
        sentence = gettext_noop(
            "%(count)s new questions were noted; they are asked again from the next check on."
        )
        return None, Said(sentence=sentence, values={"count": int(new[1])})
    if reason == _NOTHING_BEFORE:
        sentence = gettext_noop("Questions: there was nothing to compare with before this check.")
        return None, Said(sentence=sentence)
    layer, colon, rest = reason.partition(": ")
    if colon and layer in LAYERS:
        return LAYERS[layer], Said(sentence=rest, foreign=True)
    return None, Said(sentence=reason, foreign=True)


def _values(report: Mapping[str, JSON]) -> Mapping[str, JSON]:
    layers = report["layers"]
    queries = layers.get("queries") or {}
    documents = layers.get("documents") or {}
    faults = (layers.get("integrity") or {}).get("faults", [])
    broken = {one for fault in faults if fault["kind"] != "stale_text" for one in fault["ids"]}
    return {
        "sampled": queries.get("sampled", 0),
        "changed": queries.get("changed", 0),
        "repeated": queries.get("repeated", 0),
        "unsteady": queries.get("unsteady", 0),
        "references": queries.get("references", 0),
        "most": math.ceil(100 * report["drift"]["high"] - 1e-9),
        "moved": len(documents.get("moved", [])),
        "embedded": documents.get("sampled", 0),
        "broken": len(broken),
        "stale": sum(len(fault["ids"]) for fault in faults if fault["kind"] == "stale_text"),
    }
