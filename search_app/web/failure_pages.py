"""The page of what is failed now: grouped by reason, or one reason's sources."""

from functools import partial
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response

from search_app.catalog import collections, failures
from search_app.catalog.engine import transaction
from search_app.web.collection_view import collection_url
from search_app.web.deps import ServicesDep, page_number
from search_app.web.places import place_of
from search_app.web.rendering import render

GROUPS_ON_A_PAGE = 20
SOURCES_ON_A_PAGE = 100
EXAMPLES = 5
"""Sources of a group that are shown before one asks for all."""

router = APIRouter(include_in_schema=False)


@router.api_route("/failures", methods=["GET", "HEAD"])
async def failures_page(
    request: Request,
    services: ServicesDep,
    collection: str = "",
    reason: str | None = None,
    page: str = "1",
) -> Response:
    """Show what is failed now, in all collections or one."""
    number = page_number(page)
    async with transaction(services.engine) as connection:
        only = await collections.get(connection, collection) if collection else None
        total = await failures.count(connection, collection=only, reason=reason)
        if reason is None:
            groups = await failures.reasons(
                connection,
                collection=only,
                limit=GROUPS_ON_A_PAGE + 1,
                offset=(number - 1) * GROUPS_ON_A_PAGE,
            )
            more, groups = len(groups) > GROUPS_ON_A_PAGE, groups[:GROUPS_ON_A_PAGE]
            examples = await failures.examples(connection, groups, EXAMPLES)
            sources = []
        else:
            groups, examples = [], {}
            sources = await failures.listing(
                connection,
                collection=only,
                reason=reason,
                limit=SOURCES_ON_A_PAGE + 1,
                offset=(number - 1) * SOURCES_ON_A_PAGE,
            )
            more, sources = len(sources) > SOURCES_ON_A_PAGE, sources[:SOURCES_ON_A_PAGE]
        known = await failures.by_collection(connection)
    return render(
        request,
        "failures.html",
        only=only,
        reason=reason,
        total=total,
        groups=[(group, examples[group.collection.id, group.reason]) for group in groups],
        sources=sources,
        more=more,
        number=number,
        known=known,
        failures_url=failures_url,
        place_of=partial(place_of, services.settings),
        collection_url=collection_url,
    )


def failures_url(collection: str = "", reason: str | None = None, page: int = 1) -> str:
    """Give the address of failures: of a collection, for a reason, further on."""
    pairs = [("collection", collection), ("page", str(page) if page > 1 else "")]
    kept = [(name, value) for name, value in pairs if value]
    if reason is not None:
        kept.append(("reason", reason))
    return f"/failures?{urlencode(kept)}" if kept else "/failures"
