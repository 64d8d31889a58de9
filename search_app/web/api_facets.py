"""The JSON API of facets: what documents can be narrowed by, and to how many."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import ConfigDict

from search_app.catalog import collections
from search_app.catalog.engine import transaction
from search_app.grammar import write_choice
from search_app.web.answers import described
from search_app.web.deps import CounterDep, ServicesDep
from search_app.web.facets import commonest
from search_app.web.problems import Kind
from search_app.web.schemas import Model

router = APIRouter(prefix="/api/v1", tags=["v1"])


class FacetValueJson(Model):
    """A value, the documents that have it, and the filter that chooses it."""

    value: str
    documents: int
    filter: str


class FacetJson(Model):
    """A field with its values, commonest first; of ``date`` they are years."""

    field: str
    values: list[FacetValueJson]


class Facets(Model):
    """The facets of a collection. ``documents`` pass all filters.

    A filter that chooses values of a field does not narrow the counts of that field.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "collection": "default",
                "documents": 41,
                "facets": [
                    {
                        "field": "language",
                        "values": [
                            {"value": "en", "documents": 312, "filter": "language=en"},
                            {"value": "ja", "documents": 41, "filter": "language=ja"},
                        ],
                    },
                    {
                        "field": "meta.author",
                        "values": [
                            {
                                "value": "Sato, Ken",
                                "documents": 7,
                                "filter": 'meta.author="Sato, Ken"',
                            }
                        ],
                    },
                ],
            }
        }
    )

    collection: str
    documents: int
    facets: list[FacetJson]


@router.get(
    "/facets",
    name="facets",
    responses=described(Kind.INVALID_INPUT, Kind.NOT_FOUND, Kind.INVALID_BODY),
)
async def get_facets(
    *,
    services: ServicesDep,
    counter: CounterDep,
    collection: Annotated[
        str | None, Query(description="Left out: the server's default collection")
    ] = None,
    filter: Annotated[  # noqa: A002 - the field's word
        tuple[str, ...],
        Query(description="As often as needed; language=ja, or: type=pdf and date>=2024"),
    ] = (),
    limit: Annotated[
        int, Query(ge=1, le=1000, description="Most values of a field, the commonest")
    ] = 50,
    words: Annotated[
        str | None, Query(description="Count only documents that have one of these words")
    ] = None,
) -> Facets:
    """Count the documents that each value of a field would leave."""
    name = services.settings.collection if collection is None else collection
    async with transaction(services.engine) as connection:
        known = await collections.get(connection, name)
    among = None
    if words is not None:
        among = await services.searcher.documents_with_words(words, name)
    counted = await counter.choices(known, filter, among)
    return Facets(
        collection=known.name,
        documents=await counter.documents(known, filter, among),
        facets=[
            FacetJson(
                field=field,
                values=[
                    FacetValueJson(
                        value=value, documents=counts[value], filter=write_choice(field, [value])
                    )
                    for value in commonest(counts)[:limit]
                ],
            )
            for field, counts in counted.items()
            if counts
        ],
    )
