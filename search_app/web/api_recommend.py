"""The JSON API of recommendations: by examples, and for groups of documents."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from search_app.groups import AboutGroup, Group, GroupRequest, told
from search_app.likeness import Reason, read_example
from search_app.retrieval import LONGEST_QUERY, Recommendation, RecommendRequest
from search_app.web.answers import described
from search_app.web.api import Limit, Offset, hit_json, json_only
from search_app.web.deps import GroupsDep, ServicesDep
from search_app.web.problems import Kind
from search_app.web.recommend_schemas import (
    GroupAnswer,
    GroupJson,
    GroupsAnswer,
    ReasonJson,
    RecommendAnswer,
    RecommendBody,
    RecommendedJson,
    SimilarGroupJson,
)
from search_app.web.schemas import NoticeJson

MOST_HITS = 200

Field = Annotated[
    str, Query(max_length=300, description="What groups share: folder, type, meta.author")
]
CollectionName = Annotated[
    str | None, Query(description="Left out: the server's default collection")
]
IndexName = Annotated[
    str | None, Query(description="Id of another kept index, or the beginning of it")
]

_ASKED = (Kind.INVALID_INPUT, Kind.NOT_FOUND, Kind.INVALID_BODY, Kind.STORE_UNAVAILABLE)
_EMBEDDING = (*_ASKED, Kind.EMBEDDER_REFUSED, Kind.EMBEDDER_UNAVAILABLE, Kind.MODEL_MISMATCH)

router = APIRouter(prefix="/api/v1", tags=["v1"])


@router.post(
    "/recommendations",
    name="recommend",
    dependencies=[Depends(json_only)],
    responses=described(*_EMBEDDING, Kind.CROSS_ORIGIN, Kind.TOO_LARGE, Kind.NOT_JSON),
)
async def recommend(services: ServicesDep, body: RecommendBody) -> RecommendAnswer:
    """Find passages like some examples, and unlike others."""
    found = await services.searcher.recommend(
        RecommendRequest(
            like=[read_example(text) for text in body.like],
            unlike=[read_example(text) for text in body.unlike],
            collection=body.collection,
            otherwise=services.settings.collection,
            index=body.index,
            k=body.k,
            filters=body.filters,
            mode=body.mode,
            exact=body.exact,
            mmr=body.mmr,
            per_document=body.per_document,
            other_documents=body.other_documents,
        )
    )
    return _recommended(found)


@router.get("/groups", name="groups", responses=described(*_ASKED))
async def list_groups(
    services: ServicesDep,
    groups: GroupsDep,
    field: Field,
    collection: CollectionName = None,
    *,
    index: IndexName = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> GroupsAnswer:
    """List the groups of a field with the lengths of their mean vectors, the largest first."""
    name = services.settings.collection if collection is None else collection
    found = await groups.of(name, field, index)
    return GroupsAnswer(
        field=found.field,
        collection=found.target.collection.name,
        index_id=found.target.index.id,
        model_version_id=found.target.version.id,
        model=found.target.version.name,
        length=round(found.length, 6),
        pull=round(found.pull, 4),
        all_alike=found.all_alike,
        groups=[
            GroupJson.model_validate(_group(group))
            for group in found.groups[offset : offset + limit]
        ],
        more=len(found.groups) > offset + limit or found.cut,
    )


@router.get("/groups/recommendations", name="group", responses=described(*_EMBEDDING))
async def get_group(
    services: ServicesDep,
    groups: GroupsDep,
    field: Field,
    value: Annotated[str, Query(max_length=1000, description="The group: its value of the field")],
    *,
    collection: CollectionName = None,
    index: IndexName = None,
    describe: Annotated[
        str, Query(max_length=LONGEST_QUERY, description="What it is about, where that is unknown")
    ] = "",
    k: Annotated[
        int, Query(ge=1, le=MOST_HITS, description="How many groups and hits are wanted")
    ] = 10,
    filters: Annotated[
        tuple[str, ...], Query(alias="filter", description="As often as needed")
    ] = (),
    own: Annotated[bool, Query(description="Recommend what the group has already, too")] = False,
    exact: Annotated[bool, Query(description="Compare with every vector")] = False,
    mmr: Annotated[
        float | None, Query(ge=0, le=1, description="λ of maximal marginal relevance")
    ] = None,
) -> GroupAnswer:
    """Find the groups that are like one, and documents for it."""
    about = await groups.about(
        GroupRequest(
            field=field,
            value=value,
            collection=services.settings.collection if collection is None else collection,
            index=index,
            describe=describe,
            k=k,
            filters=filters,
            own=own,
            exact=exact,
            mmr=mmr,
        )
    )
    return _about(about, value)


def _recommended(found: Recommendation) -> RecommendAnswer:
    result = found.result
    return RecommendAnswer(
        hits=[
            RecommendedJson(**dict(hit_json(hit)), reason=_reason(found.reasons.get(hit.chunk_id)))
            for hit in result.hits
        ],
        like=[str(seed.example) for seed in found.seeds.like],
        unlike=[str(seed.example) for seed in found.seeds.unlike],
        mode=result.mode,
        notices=[NoticeJson.model_validate(notice) for notice in result.notices],
        collection=result.collection,
        index_id=result.index_id,
        model_version_id=result.model_version_id,
        model=result.model,
        exact=result.exact,
        more=result.more,
        took_ms=round(result.took_ms, 3),
    )


def _reason(reason: Reason | None) -> ReasonJson | None:
    if reason is None:
        return None
    against = reason.unlike_cosine
    return ReasonJson(
        like=str(reason.like),
        cosine=round(reason.cosine, 6),
        unlike=str(reason.unlike) if reason.unlike else None,
        unlike_cosine=None if against is None else round(against, 6),
    )


def _about(about: AboutGroup, value: str) -> GroupAnswer:
    result = about.result
    return GroupAnswer(
        field=about.grouping.field,
        value=value,
        group=None if about.group is None else GroupJson.model_validate(_group(about.group)),
        basis=about.known.basis,
        pull=round(about.known.pull, 4),
        share=round(about.known.share, 4),
        told=told(about.known),
        similar=[
            SimilarGroupJson.model_validate({**_group(each.group), "cosine": round(each.cosine, 6)})
            for each in about.similar
        ],
        hits=[hit_json(hit) for hit in result.hits],
        notices=[NoticeJson.model_validate(notice) for notice in result.notices],
        collection=result.collection,
        index_id=result.index_id,
        model_version_id=result.model_version_id,
        model=result.model,
        exact=result.exact,
        more=result.more,
        took_ms=round(result.took_ms, 3),
    )


def _group(group: Group) -> dict[str, object]:
    return {
        "value": group.value,
        "documents": group.documents,
        "passages": group.passages,
        "drawn": group.drawn,
        "length": round(group.length, 6),
        "by_chance": round(group.by_chance, 6),
    }
