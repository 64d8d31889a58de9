"""The filters beside the results: what can be chosen, how many documents each choice leaves."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from search_app.filters import AnyOf, Filter, parse_filter
from search_app.types import Collection
from search_app.web.counting import Counter, Facets
from search_app.web.state import SearchState
from search_app.web.translation import gettext_noop

FIELDS: Mapping[str, str] = {
    "language": gettext_noop("Language"),
    "type": gettext_noop("Type"),
    "folder": gettext_noop("Folder"),
}
"""The fields that are offered, and their headings."""

_AT_ONCE = 8
"""Values that are shown before the rest is folded away."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One value of a field. ``url`` chooses it, or takes the choice back where it is chosen.

    It is None for values with a comma, which the filter grammar cannot write. ``depth`` indents
    folders under those that hold them; ``label`` is what is new to their names.
    """

    value: str
    label: str
    documents: int
    chosen: bool
    url: str | None
    depth: int = 0


@dataclass(frozen=True, kw_only=True)
class Facet:
    """A field with its values, commonest first; ``folded`` are those shown on demand."""

    field: str
    heading: str
    shown: Sequence[Choice]
    folded: Sequence[Choice]


@dataclass(frozen=True, kw_only=True)
class Chip:
    """A filter in force, and the address of the search without it."""

    text: str
    url: str


def chips(state: SearchState) -> list[Chip]:
    """List the filters in force."""
    return [
        Chip(
            text=text, url=state.url(filters=tuple(kept for kept in state.filters if kept != text))
        )
        for text in state.filters
    ]


async def facets(counter: Counter, collection: Collection, state: SearchState) -> list[Facet]:
    """Count, for each field, the documents that the filters on the other fields leave.

    Raises:
        InvalidInputError: a filter cannot be meant.
    """
    chosen = {field: _chosen(state.filters, field) for field in FIELDS}
    # Fields without a choice of their own share one query.
    free = tuple(field for field in FIELDS if not chosen[field])
    groups = [group for group in (free, *((f,) for f in FIELDS if chosen[f])) if group]
    counts = await asyncio.gather(*(_count(counter, collection, state, group) for group in groups))
    counted = {field: values for group in counts for field, values in group.items()}
    return [
        facet
        for field in FIELDS
        if (facet := _facet(field, counted[field], chosen[field], state)).shown
    ]


async def _count(
    counter: Counter, collection: Collection, state: SearchState, fields: Sequence[str]
) -> Facets:
    others = [text for text in state.filters if _field(text) not in fields]
    return await counter.facets(collection, others, fields)


def _field(text: str) -> str | None:
    """Give the field whose values a filter chooses from; None for other kinds of filters."""
    match parse_filter([text]):
        case Filter(conditions=(AnyOf(field=field),)):
            return field
    return None


def _chosen(filters: Sequence[str], field: str) -> tuple[str, ...]:
    """Give the values chosen of a field, from all filters on it."""
    texts = [text.partition("=")[2] for text in filters if _field(text) == field]
    return tuple(value.strip() for text in texts for value in text.split(",") if value.strip())


def _facet(
    field: str, counted: Mapping[str, int], chosen: Sequence[str], state: SearchState
) -> Facet:
    # What is chosen stays in sight, even where the other filters leave nothing of it.
    everything = dict.fromkeys(chosen, 0) | dict(counted)
    ordered = sorted(everything, key=lambda value: (value not in chosen, -everything[value], value))
    choices = [
        Choice(
            value=value,
            label=value,
            documents=everything[value],
            chosen=value in chosen,
            url=None if "," in value else _toggled(field, value, chosen, state),
        )
        for value in ordered
    ]
    shown, folded = choices[:_AT_ONCE], choices[_AT_ONCE:]
    if field == "folder":
        shown, folded = _tree(shown), _tree(folded)
    return Facet(field=field, heading=FIELDS[field], shown=shown, folded=folded)


def _tree(choices: Sequence[Choice]) -> list[Choice]:
    """Put folders under those that hold them, named by what is new to the name."""
    ordered = sorted(choices, key=lambda choice: choice.value.split("/"))
    placed = []
    for choice in ordered:
        above = [other.value for other in ordered if choice.value.startswith(f"{other.value}/")]
        label = choice.value.removeprefix(f"{above[-1]}/") if above else choice.value
        placed.append(replace(choice, label=label, depth=len(above)))
    return placed


def _toggled(field: str, value: str, chosen: Sequence[str], state: SearchState) -> str:
    """Give the address with the value chosen as well, or no longer."""
    values = [kept for kept in chosen if kept != value]
    if value not in chosen:
        values.append(value)
    others = [text for text in state.filters if _field(text) != field]
    own = [f"{field}={','.join(values)}"] if values else []
    return state.url(filters=(*others, *own))
