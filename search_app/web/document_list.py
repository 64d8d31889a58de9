"""The list of what a collection holds, as an address says it: filters, order and page."""

from dataclasses import dataclass, replace
from typing import TypeVar
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from search_app.catalog.listing import EntryState, Sort, Wanted
from search_app.errors import InvalidInputError
from search_app.web.deps import page_number

Value = TypeVar("Value", EntryState, Sort)

ON_A_PAGE = 50

_DESCENDING_FIRST = (Sort.CHANGED, Sort.CHUNKS)
"""Orders of which the newest or the most is looked for first."""


@dataclass(frozen=True, kw_only=True)
class ListAddress:
    """Which entries the address of the list asks for; ``base`` is the address without any."""

    base: str
    wanted: Wanted
    page: int = 1

    @property
    def offset(self) -> int:
        """How many entries the pages before have."""
        return (self.page - 1) * ON_A_PAGE

    @property
    def filtered(self) -> bool:
        """Say whether some entries may have been left out."""
        wanted = self.wanted
        return wanted.state is not None or any(
            (wanted.text, wanted.language, wanted.type, wanted.folder)
        )

    def parameters(self) -> list[tuple[str, str]]:
        """Give the parameters of the address, defaults left out."""
        wanted = self.wanted
        natural = wanted.sort in _DESCENDING_FIRST
        pairs = [
            ("q", wanted.text),
            ("state", wanted.state.value if wanted.state else ""),
            ("language", wanted.language),
            ("type", wanted.type),
            ("folder", wanted.folder),
            ("sort", "" if wanted.sort is Sort.PATH else wanted.sort.value),
            ("order", "" if wanted.descending == natural else _order(wanted.descending)),
            ("page", "" if self.page == 1 else str(self.page)),
        ]
        return [(name, value) for name, value in pairs if value]

    def url(self) -> str:
        """Give this address."""
        query = urlencode(self.parameters())
        return f"{self.base}?{query}" if query else self.base

    def at_page(self, page: int) -> str:
        """Give the address of another page."""
        return replace(self, page=page).url()

    def with_state(self, state: str) -> str:
        """Give the address of the entries in a state, whatever else was asked for."""
        wanted = Wanted(state=EntryState(state))
        return ListAddress(base=self.base, wanted=wanted).url()

    def sorted_by(self, sort: str) -> str:
        """Give the address of the list in an order; in its reverse, where it has that already."""
        by = Sort(sort)
        descending = by in _DESCENDING_FIRST
        if by is self.wanted.sort:
            descending = not self.wanted.descending
        return replace(
            self, wanted=replace(self.wanted, sort=by, descending=descending), page=1
        ).url()

    def direction(self, sort: str) -> str:
        """Say how the list is sorted by that, in the words of ``aria-sort``."""
        if self.wanted.sort.value != sort:
            return "none"
        return "descending" if self.wanted.descending else "ascending"


def read_list(parameters: QueryParams, base: str) -> ListAddress:
    """Read which entries an address asks for.

    Raises:
        InvalidInputError: a state or an order is not known, or a text cannot be looked for.
    """
    state = parameters.get("state", "")
    sort = _one_of(Sort, "sort", parameters.get("sort", "") or Sort.PATH.value)
    order = parameters.get("order", "") or _order(sort in _DESCENDING_FIRST)
    if order not in ("ascending", "descending"):
        raise InvalidInputError(f"order {order[:20]!r} is not known; write ascending or descending")
    return ListAddress(
        base=base,
        wanted=Wanted(
            text=parameters.get("q", "").strip(),
            state=_one_of(EntryState, "state", state) if state else None,
            language=parameters.get("language", ""),
            type=parameters.get("type", ""),
            folder=parameters.get("folder", ""),
            sort=sort,
            descending=order == "descending",
        ),
        page=page_number(parameters.get("page", "1")),
    )


def _one_of(values: type[Value], name: str, text: str) -> Value:
    try:
        return values(text)
    except ValueError as exc:
        known = ", ".join(value.value for value in values)
        raise InvalidInputError(f"{name} {text[:20]!r} is not known; write {known}") from exc


def _order(descending: bool) -> str:  # noqa: FBT001 - the one thing it is about
    return "descending" if descending else "ascending"
