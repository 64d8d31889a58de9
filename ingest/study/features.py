"""What can be counted in a text that a client, a tokenizer or a model may treat differently."""

import itertools
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

_JAPANESE = ("HIRAGANA", "KATAKANA", "CJK UNIFIED", "CJK COMPATIBILITY")


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One number of a text.

    ``more`` and ``less`` say what it suggests that texts with more, or less, of it moved more.
    """

    name: str
    label: str
    more: str
    less: str


_NO_USUAL = "no usual cause is known for that"

FEATURES: Mapping[str, Feature] = {
    each.name: each
    for each in (
        Feature(
            name="length",
            label="the length of the text",
            more="long texts are cut elsewhere: another token limit, or other chunking",
            less="something was put before or after every text, which weighs most in short ones: "
            "a prefix or a template",
        ),
        Feature(
            name="newlines",
            label="the number of newlines",
            more="the client changed line breaks: it began, or ceased, to replace newlines before "
            "sending",
            less=_NO_USUAL,
        ),
        Feature(
            name="spaces",
            label="the number of repeated spaces and tabs",
            more="the client changed white space: it began, or ceased, to collapse it before "
            "sending",
            less=_NO_USUAL,
        ),
        Feature(
            name="capitals",
            label="the share of capitals",
            more="letters are, or are no longer, lower-cased before the model",
            less=_NO_USUAL,
        ),
        Feature(
            name="japanese",
            label="the share of Japanese characters",
            more="Japanese goes through another tokenizer or another model",
            less="text that is not Japanese goes through another tokenizer or another model",
        ),
        Feature(
            name="digits",
            label="the share of digits",
            more="numbers are tokenised or replaced differently",
            less=_NO_USUAL,
        ),
        Feature(
            name="compatibility",
            label="the number of characters that NFKC changes",
            more="Unicode is, or is no longer, normalised before the model",
            less=_NO_USUAL,
        ),
        Feature(
            name="position",
            label="the position in the file",
            more="something changed while the later texts were embedded: another model or setting "
            "half-way, or a shifted mapping",
            less="something changed while the earlier texts were embedded: another model or "
            "setting half-way, or a shifted mapping",
        ),
        Feature(
            name="batch position",
            label="the position in the batch",
            more="vectors depend on their place in a batch",
            less="vectors depend on their place in a batch",
        ),
    )
}

_OF_A_TEXT: Mapping[str, Callable[[str], float]] = {
    "length": len,
    "newlines": lambda text: text.count("\n"),
    "spaces": lambda text: sum(a in " \t" and b in " \t" for a, b in itertools.pairwise(text)),
    "capitals": lambda text: _share(text, str.isupper, str.isalpha),
    "japanese": lambda text: _share(text, _is_japanese, str.isalpha),
    "digits": lambda text: _share(text, str.isdecimal, lambda _: True),
    "compatibility": lambda text: sum(
        unicodedata.normalize("NFKC", character) != character for character in text
    ),
}


def features_of(texts: Sequence[str], *, batch: int | None) -> Mapping[str, Numbers]:
    """Count everything, (n,) each; the position in the batch only where its size is known."""
    found = {
        name: np.array([count(text) for text in texts], np.float64)
        for name, count in _OF_A_TEXT.items()
    }
    places = np.arange(len(texts), dtype=np.float64)
    found["position"] = places
    if batch is not None:
        found["batch position"] = places % batch
    return found


def _share(text: str, counts: Callable[[str], bool], of: Callable[[str], bool]) -> float:
    among = [character for character in text if of(character)]
    return sum(map(counts, among)) / len(among) if among else 0.0


def _is_japanese(character: str) -> bool:
    return unicodedata.name(character, "").startswith(_JAPANESE)
