"""What a page of recommendations shows, as its address says it: examples travel in it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from search_app.likeness import Example, read_example
from search_app.retrieval import RecommendRequest
from search_app.web.state import SearchState, read_state

MOST_SHOWN = 20
"""Passages that the page shows."""


@dataclass(frozen=True, kw_only=True)
class RecommendState:
    """Examples as an address carries them, and the search they were collected in.

    ``each``: one passage of each document. Of the search, filters, mode, index and λ hold here too.
    """

    like: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()
    each: bool = False
    search: SearchState

    def url(self, **changes: Any) -> str:
        """Give the address of these recommendations, or of others that differ."""
        state = replace(self, **changes) if changes else self
        return "/recommend?" + urlencode(state.parameters())

    def parameters(self) -> list[tuple[str, str]]:
        """Give the parameters of the address, defaults left out."""
        return [
            *(("like", text) for text in self.like),
            *(("unlike", text) for text in self.unlike),
            *([("each", "1")] if self.each else []),
            *(pair for pair in self.search.parameters() if pair[0] != "page"),
        ]

    def without(self, example: str) -> str:
        """Give the address with an example taken away."""
        return self.url(
            like=tuple(each for each in self.like if each != example),
            unlike=tuple(each for each in self.unlike if each != example),
        )

    def also_like(self, example: str) -> str:
        """Give the address with an example for, and no longer against."""
        return self.url(
            like=_with(self.like, example),
            unlike=tuple(each for each in self.unlike if each != example),
        )

    def also_unlike(self, example: str) -> str:
        """Give the address with an example against, and no longer for."""
        return self.url(
            like=tuple(each for each in self.like if each != example),
            unlike=_with(self.unlike, example),
        )

    def without_filter(self, text: str) -> str:
        """Give the address without one of the filters."""
        kept = tuple(each for each in self.search.filters if each != text)
        return self.url(search=replace(self.search, filters=kept))

    def request(self, otherwise: str) -> RecommendRequest:
        """Give what to find.

        Raises:
            InvalidInputError: an example, the mode or λ cannot be meant.
        """
        return RecommendRequest(
            like=read(self.like),
            unlike=read(self.unlike),
            collection=self.search.collection or None,
            otherwise=otherwise,
            index=self.search.index or None,
            k=MOST_SHOWN,
            filters=self.search.filters,
            mode=self.search.chosen_mode(),
            exact=self.search.exact,
            mmr=self.search.weight(),
            per_document=1 if self.each else None,
        )


def read(written: Sequence[str]) -> list[Example]:
    """Read examples as an address has them.

    Raises:
        InvalidInputError: one of them is none.
    """
    return [read_example(text) for text in written]


def read_recommendations(parameters: QueryParams) -> RecommendState:
    """Read an address; what cannot be meant is found when it is used."""
    return RecommendState(
        like=_side(parameters, "like"),
        unlike=_side(parameters, "unlike"),
        each=parameters.get("each", "") not in ("", "0", "false"),
        search=read_state(parameters),
    )


def less_like(state: SearchState, chunk_id: object) -> str | None:
    """Give the address of what a search is about, but not like one hit; None without a query."""
    if not state.query:
        return None
    examples = RecommendState(
        like=(f"text:{state.query}",), unlike=(str(chunk_id),), search=replace(state, page="1")
    )
    return examples.url()


def _side(parameters: QueryParams, name: str) -> tuple[str, ...]:
    written = [text.strip() for text in parameters.getlist(name)]
    told = [f"text:{text.strip()}" for text in parameters.getlist(f"{name}_text") if text.strip()]
    return tuple(dict.fromkeys(text for text in (*written, *told) if text))


def _with(examples: Sequence[str], example: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*examples, example)))
