"""Findings: each is one cause why a document is not found, or says where it is found after all.

Every cause has a function of the facts that gives a finding or None; ``findings`` calls them in
the order of the causes.
"""

from collections.abc import Callable, Mapping

from search_app.why.facts import Facts
from search_app.why.finding import Cause, Finding
from search_app.why.of_document import (
    chunked_anew,
    edited,
    failed,
    folded,
    found,
    left_out,
    never_ingested,
    no_vector,
    pending,
    removed,
)
from search_app.why.of_search import excluded, filtered_out, index_switched, missed, outranked
from search_app.why.of_vectors import (
    checked,
    noise,
    query_vector_changed,
    query_vector_unknown,
    unchecked,
)

JUDGES: Mapping[Cause, Callable[[Facts], Finding | None]] = {
    Cause.FOUND: found,
    Cause.FOLDED: folded,
    Cause.NEVER_INGESTED: never_ingested,
    Cause.FAILED: failed,
    Cause.REMOVED: removed,
    Cause.PENDING: pending,
    Cause.LEFT_OUT: left_out,
    Cause.NO_VECTOR: no_vector,
    Cause.EDITED: edited,
    Cause.CHUNKED_ANEW: chunked_anew,
    Cause.FILTERED_OUT: filtered_out,
    Cause.EXCLUDED: excluded,
    Cause.INDEX_SWITCHED: index_switched,
    Cause.MISSED: missed,
    Cause.OUTRANKED: outranked,
    Cause.QUERY_VECTOR_CHANGED: query_vector_changed,
    Cause.QUERY_VECTOR_UNKNOWN: query_vector_unknown,
    Cause.CHECKED: checked,
    Cause.UNCHECKED: unchecked,
    Cause.NOISE: noise,
}
"""What decides about each cause."""


def findings(facts: Facts) -> list[Finding]:
    """Give everything that holds, in the order of the causes; never nothing."""
    return [finding for judge in JUDGES.values() if (finding := judge(facts)) is not None]
