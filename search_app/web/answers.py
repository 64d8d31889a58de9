"""What endpoints of the API may answer besides what they are for, described for OpenAPI."""

from typing import Any

from search_app.web.examples import DETAILS
from search_app.web.problems import MEDIA_TYPE, Kind, Problem
from search_app.web.schemas import ProblemJson

_EVERYWHERE = (
    Kind.UNKNOWN_HOST,
    Kind.NO_KEY,
    Kind.MISSING_SCOPE,
    Kind.TOO_MANY,
    Kind.CATALOG_UNAVAILABLE,
    Kind.INTERNAL,
)
"""What any request may be answered with."""


def described(*kinds: Kind) -> dict[int | str, dict[str, Any]]:
    """Describe the problems that an endpoint may answer with, an example of each."""
    answers: dict[int | str, dict[str, Any]] = {}
    for kind in (*kinds, *_EVERYWHERE):
        entry = answers.setdefault(
            kind.status,
            {
                "model": ProblemJson,
                "description": kind.title,
                # Where the schema of the model belongs; see description.py.
                "content": {MEDIA_TYPE: {"examples": {}}},
            },
        )
        problem = Problem(kind=kind, detail=DETAILS[kind.slug])
        entry["content"][MEDIA_TYPE]["examples"][kind.slug] = {
            "summary": kind.title,
            "value": problem.as_json("/api/v1/…"),
        }
    return answers
