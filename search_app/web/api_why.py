"""The JSON API of why a document is not found."""

from datetime import UTC, date, datetime, time
from typing import Annotated

from fastapi import APIRouter, Query

from search_app.retrieval import LONGEST_QUERY
from search_app.types import QueryKind
from search_app.web.answers import described
from search_app.web.api_assist import Filters, ModeWanted
from search_app.web.api_provenance import InIndex
from search_app.web.deps import ServicesDep
from search_app.web.problems import Kind
from search_app.web.why_schemas import WhyAnswer
from search_app.why.inquiry import MOST_SHOWN, Inquiry, inquire
from search_app.why.naming import LONGEST_NAME
from search_app.why.wording import as_json

router = APIRouter(prefix="/api/v1", tags=["v1"])


@router.get(
    "/why",
    name="why",
    responses=described(
        Kind.INVALID_INPUT,
        Kind.NOT_FOUND,
        Kind.INVALID_BODY,
        Kind.EMBEDDER_REFUSED,
        Kind.EMBEDDER_UNAVAILABLE,
        Kind.STORE_UNAVAILABLE,
        Kind.MODEL_MISMATCH,
    ),
)
async def get_why(
    *,
    services: ServicesDep,
    q: Annotated[str, Query(max_length=LONGEST_QUERY, description="The query, as it was asked")],
    document: Annotated[
        str,
        Query(
            max_length=LONGEST_NAME,
            description="The document: its id or path, or a part of path or title",
        ),
    ],
    collection: Annotated[
        str | None, Query(description="Left out: the server's default collection")
    ] = None,
    k: Annotated[int, Query(ge=1, le=MOST_SHOWN, description="How many hits count as found")] = 10,
    filters: Filters = (),
    mode: ModeWanted = None,
    index: InIndex = None,
    since: Annotated[
        date | None, Query(description="Only searches and changes from that day on (UTC)")
    ] = None,
    kind: Annotated[
        QueryKind, Query(description="What is looked for: anything, or source code")
    ] = "query",
) -> WhyAnswer:
    """Say why a document is not found for a query, or no longer, and what to do."""
    answer = await inquire(
        services,
        Inquiry(
            query=q.strip(),
            document=document,
            collection=services.settings.collection if collection is None else collection,
            k=k,
            filters=filters,
            mode=mode,
            index=index,
            kind=kind,
            since=None if since is None else datetime.combine(since, time(), UTC),
        ),
    )
    return WhyAnswer.model_validate(as_json(answer))
