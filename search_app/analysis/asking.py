"""What can be asked of an analysis, seen before any vector is read or any job is queued."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from search_app.analysis.clusters import FEWEST, read_method
from search_app.analysis.projection import NEIGHBOURS, Projection, check_neighbours, read_projection
from search_app.catalog.analyses import CLUSTERS, DIVERSITY, KINDS, LABELS, MAP, OUTLIERS
from search_app.errors import InvalidInputError
from search_app.filters import FIELDS, SUGGESTED
from search_app.grammar import parse_filter
from search_app.types import JSON

MOST_CLUSTERS = 500
MOST_REPEATS = 50
MOST_LABELS = 200
LONGEST_NAME = 200
"""Characters of a metadata field's name, and of a label's."""

LONGEST_FIELD = LONGEST_NAME + len(f"{SUGGESTED}.")
LONGEST_QUERY = 2_000
LARGEST_SEED = 2**32 - 101
SHOWN = 60
"""Characters of what was asked that an error shows."""

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

ZERO_SHOT = "zero-shot"
LABEL_METHODS = (ZERO_SHOT, "knn", "logistic", "forest", "ridge", "forest-regression")


class Period(StrEnum):
    """Stretches of time that documents are put together by, by their date."""

    YEAR = "year"
    MONTH = "month"
    DAY = "day"


def check_asked(kind: str, options: Mapping[str, JSON]) -> None:
    """See that an analysis can be meant; what depends on the documents is told by the analysis.

    Raises:
        InvalidInputError: the kind or an option is not known, or a value cannot be meant.
    """
    checks = _CHECKS.get(kind)
    if checks is None:
        raise InvalidInputError(f"analysis {kind[:40]!r} is not known; write {', '.join(KINDS)}")
    given = {name: value for name, value in options.items() if value is not None}
    check_scope(
        seed=given.pop("seed", 0),
        filters=given.pop("filters", ()),
        index=given.pop("index", None),
    )
    try:
        checks(**given)
    except TypeError as exc:
        if "unexpected keyword" not in str(exc):
            raise
        raise InvalidInputError(f"an analysis of {kind} has no such option: {exc}") from exc


def check_scope(*, seed: int, filters: Sequence[str], index: str | None) -> None:
    """See that a seed, filters and an id of an index can be read.

    Raises:
        InvalidInputError: they cannot.
    """
    if not 0 <= seed <= LARGEST_SEED:
        raise InvalidInputError(f"the seed is {seed}; write a number from 0 to {LARGEST_SEED}")
    parse_filter(filters)
    if index is not None and _UNSTORABLE.search(index):
        raise InvalidInputError(f"no index {index[:SHOWN]!r}; ingest indexes lists them")


def check_clusters(
    *,
    method: str = "k-means",
    number: int | None = None,
    field: str | None = None,
    repeats: int = 0,
) -> None:
    """See that a clustering can be meant.

    Raises:
        InvalidInputError: it cannot.
    """
    read_method(method)
    if number is not None and not FEWEST <= number <= MOST_CLUSTERS:
        raise InvalidInputError(
            f"{number} clusters were asked for; write a number from {FEWEST} to {MOST_CLUSTERS}"
        )
    if not 0 <= repeats <= MOST_REPEATS:
        raise InvalidInputError(
            f"{repeats} repeats were asked for; write a number from 0 to {MOST_REPEATS}"
        )
    if field is not None:
        check_field(field)


def check_outliers(*, k: int = 1, cosine: float = 1) -> None:
    """See that a look at what stands out can be meant.

    Raises:
        InvalidInputError: it cannot.
    """
    if not 1 <= k <= 100 or not 0 < cosine <= 1:  # noqa: PLR2004 - as the message says
        raise InvalidInputError(
            f"k is {k} and the cosine {cosine:g}; write 1 to 100 neighbours and a cosine above 0, "
            "at most 1"
        )


def check_diversity(
    *,
    query: str | None = None,
    k: int | None = None,
    mmr: float | None = None,
    by: str | None = None,
) -> None:
    """See that a measure of diversity can be meant; the search sees to its ``k``.

    Raises:
        InvalidInputError: it cannot.
    """
    del k
    if mmr is not None and query is None:
        raise InvalidInputError("mmr orders what a query finds; name a query too, or leave mmr out")
    if query is not None and not 0 < len(query.strip()) <= LONGEST_QUERY:
        raise InvalidInputError(
            f"the query has {len(query):,} characters; write 1 to {LONGEST_QUERY:,}, or none to "
            "measure everything"
        )
    _check_storable("the query", query or "")
    if by is not None and by not in tuple(Period):
        check_field(by)


def check_labelling(
    *,
    name: str = "",
    method: str = "logistic",
    labels: Sequence[str] = (),
    group: str | None = None,
    suggest: bool = True,
) -> None:
    """See that labels can be looked for so.

    Raises:
        InvalidInputError: they cannot.
    """
    del suggest
    check_name(name)
    if method not in LABEL_METHODS:
        raise InvalidInputError(
            f"method {method[:40]!r} is not known; write {', '.join(LABEL_METHODS)}"
        )
    if labels and method != ZERO_SHOT:
        raise InvalidInputError(
            f"{method} learns labels from documents; only zero-shot takes them by name"
        )
    if labels:
        check_labels(labels)
    if group is not None:
        check_field(group)


def check_map(*, method: str = Projection.UMAP, neighbours: int = NEIGHBOURS) -> None:
    """See that a map can be meant.

    Raises:
        InvalidInputError: it cannot.
    """
    read_projection(method)
    check_neighbours(neighbours)


def check_field(field: str) -> None:
    """See that a field of documents can be called so.

    Raises:
        InvalidInputError: none can.
    """
    part, _, name = field.partition(".")
    if field not in FIELDS and not (part in ("meta", SUGGESTED) and name.strip()):
        raise InvalidInputError(
            f"{field[:SHOWN]!r} is no field; write {', '.join(FIELDS)} or meta.NAME"
        )
    if len(field) > LONGEST_FIELD or not field.isprintable():
        raise InvalidInputError(
            f"field {field[:SHOWN]!r}: the name of one is 1 to {LONGEST_NAME} printable characters"
        )


def check_name(name: str) -> None:
    """See that a metadata field can be called so, without ``meta.``.

    Raises:
        InvalidInputError: none can.
    """
    if name.startswith("meta.") or not name.strip():
        raise InvalidInputError(
            "name the metadata field without meta., for example topic for meta.topic"
        )
    check_field(f"meta.{name}")


def name_of(label: str) -> str:
    """Give the name of a label that may say what it means: sports of ``sports: games``."""
    return label.partition(":")[0].strip()


def check_labels(labels: Sequence[str]) -> None:
    """See that there is something to choose between.

    Raises:
        InvalidInputError: too few labels, too many, one without a name, or two of one name.
    """
    names = [name_of(label) for label in labels]
    if "" in names:
        raise InvalidInputError(
            f"label {labels[names.index('')][:40]!r} has no name; write 'sports' or 'sports: games "
            "and teams'"
        )
    for name in names:
        if len(name) > LONGEST_NAME or not name.isprintable():
            raise InvalidInputError(
                f"label {name[:40]!r}: its name is 1 to {LONGEST_NAME} printable characters; what "
                "it means stands after a colon"
            )
    for label in labels:
        _check_storable("a label", label)
    if not FEWEST <= len(names) <= MOST_LABELS:
        there = "1 label was" if len(names) == 1 else f"{len(names):,} labels were"
        raise InvalidInputError(f"{there} named; {FEWEST} to {MOST_LABELS} are needed")
    name, often = Counter(names).most_common(1)[0]
    if often > 1:
        raise InvalidInputError(f"label {name[:40]!r} is named {often} times; name each once")


def _check_storable(what: str, text: str) -> None:
    if _UNSTORABLE.search(text):
        raise InvalidInputError(f"{what} has a NUL or half of a surrogate pair; remove it")


_CHECKS: Mapping[str, Callable[..., Any]] = {
    CLUSTERS: check_clusters,
    OUTLIERS: check_outliers,
    DIVERSITY: check_diversity,
    LABELS: check_labelling,
    MAP: check_map,
}
