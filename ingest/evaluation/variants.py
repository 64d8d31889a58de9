"""Settings that are evaluated: those in force, and what a comparison changes of them."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from search_app.bootstrap import make_embedder, make_reranker
from search_app.config import Settings, load_settings
from search_app.errors import ConfigurationError, InvalidInputError
from search_app.types import JSON

INDEXING: Mapping[str, str] = {
    "embedder": "embedder",
    "store": "store",
    "precision": "precision",
    "chunk_tokens": "chunk_tokens",
    "analyzer": "analyzer",
}
"""What decides how documents are indexed, and the settings it stands for."""

SEARCHING: Mapping[str, str] = {
    "mode": "search_mode",
    "fusion": "fusion",
    "dense_weight": "dense_weight",
    "rerank": "reranker",
    "rerank_depth": "rerank_depth",
}
"""What decides how queries are answered."""

_OF_SERVICES = (*INDEXING.values(), "reranker", "rerank_depth")
_SETTINGS = {**INDEXING, **SEARCHING}
EXACT = "exact"
NAMES = (*_SETTINGS, EXACT)
NONE = "none"
UNSET: Mapping[str, str] = {"rerank": NONE, "precision": "default"}
"""How the choices are written that may be left to others: nothing reranks, the store decides."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way of indexing and searching; ``label`` says what sets it apart from the others."""

    label: str
    settings: Settings
    exact: bool

    @property
    def indexing(self) -> tuple[JSON, ...]:
        """What decides how documents are indexed: equal ones share a collection."""
        return tuple(getattr(self.settings, name) for name in INDEXING.values())

    def can_use(self, settings: Settings) -> bool:
        """Say whether services with these settings do for it; requests say the rest."""
        return all(getattr(self.settings, name) == getattr(settings, name) for name in _OF_SERVICES)

    @property
    def chosen(self) -> dict[str, JSON]:
        """Every choice by its name."""
        return {
            **{name: getattr(self.settings, field) for name, field in _SETTINGS.items()},
            EXACT: self.exact,
        }


def read_variants(
    settings: Settings, given: Mapping[str, str], comparisons: Sequence[str]
) -> list[Variant]:
    """Make the variant of the settings and of what was given, and then one for each comparison.

    ``given`` has choices by their names; a comparison is written as ``mode=semantic`` or
    ``fusion=rrf dense_weight=0.5``, and keeps what it does not name.

    Raises:
        InvalidInputError: a name or a value that cannot be meant.
        ConfigurationError: an embedder or a reranker that is not known.
    """
    changes = [_choices(text) for text in comparisons]
    base = _variant(settings, given, "")
    named = dict.fromkeys(name for change in changes for name in change) or {"mode": None}
    return [
        replace(base, label=_label({name: base.chosen[name] for name in named})),
        *(_variant(settings, {**given, **change}, _label(change)) for change in changes),
    ]


def _choices(text: str) -> dict[str, str]:
    try:
        parts = shlex.split(text)
    except ValueError:
        # A quote that is never closed.
        parts = []
    pairs = [part.partition("=") for part in parts]
    if not pairs or not all(separator for _, separator, _ in pairs):
        raise InvalidInputError(
            f"--compare {text[:80]!r} is not NAME=VALUE; write for example mode=semantic or "
            "'fusion=rrf dense_weight=0.5'"
        )
    for name, _, _ in pairs:
        if name not in NAMES:
            raise InvalidInputError(
                f"--compare {text[:80]!r}: {name[:40]!r} cannot be compared; there are "
                f"{', '.join(NAMES)}"
            )
    return {name: value for name, _, value in pairs}


def _variant(settings: Settings, given: Mapping[str, str], label: str) -> Variant:
    values = {
        _SETTINGS[name]: None if UNSET.get(name) == value else value
        for name, value in given.items()
        if name != EXACT
    }
    try:
        read = load_settings(**values)
    except ConfigurationError as exc:
        written = " ".join(f"{name}={value}" for name, value in given.items())
        raise InvalidInputError(f"{written}: {exc}") from exc
    changed = settings.model_copy(update={name: getattr(read, name) for name in values})
    # A misspelt name is told before anything is indexed.
    make_embedder(changed.embedder, changed)
    if changed.reranker is not None:
        make_reranker(changed.reranker, changed)
    return Variant(label=label, settings=changed, exact=_truth(given.get(EXACT, "false")))


def _truth(value: str) -> bool:
    if value not in ("true", "false"):
        raise InvalidInputError(f"exact={value[:40]} is neither true nor false")
    return value == "true"


def _label(choices: Mapping[str, JSON]) -> str:
    return " ".join(f"{name}={_written(name, value)}" for name, value in choices.items())


def _written(name: str, value: JSON) -> str:
    if value is None:
        return UNSET.get(name, NONE)
    return str(value).lower() if isinstance(value, bool) else str(value)
