"""The filters beside the results: what can be chosen, how many documents each choice leaves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from search_app.grammar import write_choice
from search_app.types import Collection
from search_app.web.counting import Counter, Ids, read_facet_choice
from search_app.web.state import SearchState
from search_app.web.translation import gettext_noop

HEADINGS: Mapping[str, str] = {
    "language": gettext_noop("Language"),
    "type": gettext_noop("Type"),
    "folder": gettext_noop("Folder"),
    "date": gettext_noop("Year"),
}
"""The headings of fields that are no metadata."""

_AT_ONCE = 8
"""Values that are shown before the rest is folded away."""

_MOST = 50
"""Most values that are listed beside those chosen."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One value of a field. ``url`` chooses it, or takes the choice back where it is chosen.

    ``depth`` indents folders under those that hold them; ``label`` is what is new to their names.
    """

    value: str
    label: str
    documents: int
    chosen: bool
    url: str
    depth: int = 0


@dataclass(frozen=True, kw_only=True)
class Facet:
    """A field with its values, commonest first, years latest first.

    ``folded`` are those shown on demand. ``heading`` is to be translated; metadata has none but
    its ``name``.
    """

    field: str
    name: str
    heading: str | None
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


async def facets(
    counter: Counter, collection: Collection, state: SearchState, among: Ids | None = None
) -> list[Facet]:
    """Count, for each field, the documents that the filters on the other fields leave.

    With ``among``, only those documents are counted.

    Raises:
        InvalidInputError: a filter cannot be meant.
    """
    counted = await counter.choices(collection, state.filters, among)
    return [
        facet for field, counts in counted.items() if (facet := _facet(field, counts, state)).shown
    ]


def commonest(counts: Mapping[str, int]) -> list[str]:
    """Order values by how many documents have them, equal ones by themselves."""
    return sorted(counts, key=lambda value: (-counts[value], value))


def _chosen(filters: Sequence[str], field: str) -> tuple[str, ...]:
    """Give the values chosen of a field, from all filters on it."""
    choices = [read_facet_choice(text) for text in filters]
    return tuple(
        value for choice in choices if choice and choice[0] == field for value in choice[1]
    )


def _facet(field: str, counted: Mapping[str, int], state: SearchState) -> Facet:
    chosen = _chosen(state.filters, field)
    # What is chosen stays in sight, even where the other filters leave nothing of it.
    everything = dict.fromkeys(chosen, 0) | dict(counted)
    ordered = commonest(everything)
    if field == "date":
        ordered.sort(reverse=True)
    ordered.sort(key=lambda value: value not in chosen)
    choices = [
        Choice(
            value=value,
            label=value,
            documents=everything[value],
            chosen=value in chosen,
            url=_toggled(field, value, chosen, state),
        )
        for value in ordered[: len(chosen) + _MOST]
    ]
    shown, folded = choices[:_AT_ONCE], choices[_AT_ONCE:]
    if field == "folder":
        shown, folded = _tree(shown), _tree(folded)
    return Facet(
        field=field,
        name=field.removeprefix("meta."),
        heading=HEADINGS.get(field),
        shown=shown,
        folded=folded,
    )


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
    others = [
        text
        for text in state.filters
        if (choice := read_facet_choice(text)) is None or choice[0] != field
    ]
    own = [write_choice(field, values)] if values else []
    return state.url(filters=(*others, *own))
