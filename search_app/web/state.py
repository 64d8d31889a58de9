"""What a search page shows, as its address says it: every state can be shared and bookmarked."""

from dataclasses import dataclass, replace
from typing import Any, get_args
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from search_app.errors import InvalidInputError
from search_app.retrieval import SearchRequest
from search_app.stores.base import MAX_K
from search_app.types import Mode, QueryKind

PAGE_SIZE = 10
"""Hits on one page."""

LAST_PAGE = MAX_K // PAGE_SIZE

MODES: dict[str, Mode] = {mode: mode for mode in get_args(Mode)}
"""The ways to search, as addresses name them."""

KINDS: dict[str, QueryKind] = {kind: kind for kind in get_args(QueryKind)}
"""What can be looked for, as addresses name it."""


@dataclass(frozen=True, kw_only=True)
class SearchState:
    """A search as an address carries it; ``collection`` or ``mode`` empty: the default one.

    ``index`` names another index than the active one. It, ``mode``, ``page``, ``mmr`` and ``kind``
    are texts that the address had, since a wrong one must be shown and explained.
    """

    query: str = ""
    collection: str = ""
    filters: tuple[str, ...] = ()
    mode: str = ""
    page: str = "1"
    exact: bool = False
    index: str = ""
    mmr: str = ""
    kind: str = ""

    def number(self) -> int:
        """Give the page's number.

        Raises:
            InvalidInputError: it is none, or further than can be paged.
        """
        text = self.page
        if text.isascii() and text.isdecimal() and len(text) < 5 and 1 <= int(text) <= LAST_PAGE:  # noqa: PLR2004 - digits of a number that is too large anyway
            return int(text)
        raise InvalidInputError(
            f"page {text[:20]!r} cannot be shown; write a number from 1 to {LAST_PAGE}"
        )

    def parameters(self) -> list[tuple[str, str]]:
        """Give the parameters of the address, defaults left out."""
        pairs = [
            ("q", self.query),
            ("collection", self.collection),
            *(("filter", text) for text in self.filters),
            ("mode", self.mode),
            ("page", "" if self.page == "1" else self.page),
            ("exact", "1" if self.exact else ""),
            ("index", self.index),
            ("mmr", self.mmr),
            ("kind", "" if self.kind == "query" else self.kind),
        ]
        return [(name, value) for name, value in pairs if value]

    def url(self, **changes: Any) -> str:
        """Give the address of this search, or of one that differs; other pages start anew."""
        changed = replace(self, **({"page": "1"} | changes)) if changes else self
        query = urlencode(changed.parameters())
        return f"/?{query}" if query else "/"

    def chosen_mode(self) -> Mode | None:
        """Give the mode that was chosen; None where none was.

        Raises:
            InvalidInputError: there is no such mode.
        """
        if self.mode and self.mode not in MODES:
            raise InvalidInputError(
                f"mode {self.mode[:20]!r} is not known; write {', '.join(MODES)}"
            )
        return MODES.get(self.mode)

    def chosen_kind(self) -> QueryKind:
        """Give what is looked for: anything, where nothing was chosen.

        Raises:
            InvalidInputError: there is no such kind.
        """
        if self.kind and self.kind not in KINDS:
            raise InvalidInputError(
                f"kind {self.kind[:20]!r} is not known; write {', '.join(KINDS)}"
            )
        return KINDS.get(self.kind, "query")

    def weight(self) -> float | None:
        """Give λ of maximal marginal relevance; None where none was chosen.

        Raises:
            InvalidInputError: it is no number.
        """
        try:
            return float(self.mmr) if self.mmr else None
        except ValueError as exc:
            raise InvalidInputError(
                f"mmr is {self.mmr[:20]!r}; write a number from 0 to 1"
            ) from exc

    def document_url(self, document_id: object, chunk_id: object) -> str:
        """Give the address of a hit's place in its document, which leads back to this search."""
        query = urlencode([("chunk", str(chunk_id)), *self.parameters()])
        return f"/documents/{document_id}?{query}#chunk-{chunk_id}"

    def similar_url(self, kind: str, identity: object) -> str:
        """Give the address of what is like a document or chunk; it leads back to this search."""
        query = urlencode(self.parameters())
        return f"/similar/{kind}/{identity}" + (f"?{query}" if query else "")

    def why_url(self, document: object = "") -> str:
        """Give the address that says why a document is not found by this search."""
        asked = replace(self, page="1", exact=False)
        pairs = [*asked.parameters(), ("document", str(document))]
        return "/why?" + urlencode([(name, value) for name, value in pairs if value])

    def request(self, collection: str) -> SearchRequest:
        """Give the search to execute.

        Raises:
            InvalidInputError: the page, the mode or the kind cannot be meant.
        """
        return SearchRequest(
            query=self.query,
            collection=collection,
            index=self.index or None,
            k=PAGE_SIZE,
            first_rank=(self.number() - 1) * PAGE_SIZE + 1,
            filters=self.filters,
            mode=self.chosen_mode(),
            exact=self.exact,
            fold=True,
            mmr=self.weight(),
            kind=self.chosen_kind(),
            client="page",
        )


def read_state(parameters: QueryParams) -> SearchState:
    """Read a search from an address; what cannot be meant is found when it is used."""
    return SearchState(
        query=parameters.get("q", "").strip(),
        collection=parameters.get("collection", ""),
        filters=tuple(
            dict.fromkeys(text.strip() for text in parameters.getlist("filter") if text.strip())
        ),
        mode=parameters.get("mode", "").strip(),
        page=parameters.get("page", "1") or "1",
        exact=parameters.get("exact", "") not in ("", "0", "false"),
        index=parameters.get("index", "").strip(),
        mmr=parameters.get("mmr", "").strip(),
        kind=parameters.get("kind", "").strip(),
    )
