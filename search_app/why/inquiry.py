"""Asking why: gathering the facts, and the answer made of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.bootstrap import Services
from search_app.catalog import (
    chunks,
    collections,
    exclusions,
    history,
    indexes,
    inquiries,
    models,
    query_cache,
)
from search_app.catalog.engine import reading
from search_app.catalog.history import DocumentEvent
from search_app.catalog.inquiries import Candidate, PastCheck, PastFailure
from search_app.errors import EmbedderError, InvalidInputError, NotFoundError
from search_app.filters import passes
from search_app.grammar import parse_filter
from search_app.noise import measured
from search_app.question import read_question
from search_app.ranking import full_text
from search_app.retrieval import SearchRequest, check_request, vector_hash
from search_app.stores.base import MAX_K
from search_app.types import Collection, Hit, Mode, Notice, QueryKind, Vector
from search_app.why.facts import Facts, Listed, Place, Serving, State, Subject
from search_app.why.finding import Finding
from search_app.why.findings import findings
from search_app.why.naming import named

MOST_PASSAGES = 2000
"""Passages of a document that are looked into."""

_FETCHED = 500

MOST_SHOWN = 100
"""Largest k: hits that are compared with the document one by one."""


@dataclass(frozen=True, kw_only=True)
class Inquiry:
    """Why is a document not found for a query? As a user asks it.

    With ``since``, only searches and changes from that moment on count. ``mode`` None is as the
    settings say; ``index`` names another index than the one that answers searches. ``kind`` is as
    in a search.
    """

    query: str
    document: str
    collection: str
    k: int = 10
    filters: Sequence[str] = ()
    mode: Mode | None = None
    since: datetime | None = None
    index: str | None = None
    kind: QueryKind = "query"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The findings, the most decisive first, with the facts that they are made from.

    ``notices`` are what the searches behind it could not do, as when the model does not answer.
    """

    inquiry: Inquiry
    facts: Facts
    findings: Sequence[Finding]
    notices: Sequence[Notice]


async def inquire(services: Services, inquiry: Inquiry) -> Answer:
    """Find out why; nothing of it is logged as a search.

    Raises:
        InvalidInputError: the inquiry cannot be meant, or may mean several documents.
        NotFoundError: no such collection, or an id that no document has or had.
        EmbedderError, StoreError, CatalogError: as the search does.
    """
    check_request(SearchRequest(query=inquiry.query))
    if not 1 <= inquiry.k <= MOST_SHOWN:
        raise InvalidInputError(f"k is {inquiry.k}; write a number from 1 to {MOST_SHOWN}")
    parse_filter(inquiry.filters)
    async with reading(services.engine) as connection:
        collection = await collections.get(connection, inquiry.collection)
        meant = await named(connection, collection, inquiry.document)
        facts = await _of_catalog(connection, services, collection, inquiry, meant)
    notices: list[Notice] = []
    if facts.subject.state is State.INDEXED and facts.serving is not None:
        facts = await _Asking(services, inquiry, notices).complete(facts, facts.serving)
    return Answer(
        inquiry=inquiry, facts=facts, findings=findings(facts), notices=_distinct(notices)
    )


async def _of_catalog(
    connection: AsyncConnection,
    services: Services,
    collection: Collection,
    inquiry: Inquiry,
    meant: Candidate | None,
) -> Facts:
    """Gather what the catalog knows."""
    facts = Facts(
        k=inquiry.k,
        mode=inquiry.mode or services.settings.search_mode,
        filters=inquiry.filters,
        question=read_question(inquiry.query.strip()),
        since=inquiry.since,
        subject=Subject(state=State.UNKNOWN, uri=inquiry.document.strip()),
    )
    if meant is None:
        return replace(
            facts,
            elsewhere=await inquiries.elsewhere(connection, collection, facts.subject.uri),
        )
    query_hash = query_cache.key_of(inquiry.query.strip(), inquiry.kind)
    subject, failure = await _subject(connection, collection, meant)
    facts = replace(
        facts,
        subject=subject,
        failure=failure,
        serving=await _serving(connection, collection, inquiry.index),
        last=await inquiries.last_search(connection, collection, query_hash, since=inquiry.since),
    )
    if subject.id is None:
        return facts
    own = [*(await chunks.ids_by_document(connection, [subject.id])).get(subject.id, ())]
    facts = replace(
        facts,
        chunk_ids=own,
        events=await history.of_document(connection, subject.id),
        left=await exclusions.of_document(connection, subject.id),
        last_hit=await inquiries.last_hit(
            connection,
            collection,
            query_hash,
            document_id=subject.id,
            chunk_ids=own,
            since=inquiry.since,
        ),
    )
    return replace(
        facts,
        switched_at=await _switched_at(connection, collection, facts, inquiry.index),
        checks=await _checks(connection, facts),
    )


async def _checks(connection: AsyncConnection, facts: Facts) -> Sequence[PastCheck]:
    then, now = facts.compared, facts.serving
    if then is None or now is None or then.index_id != now.index_id:
        return ()
    return await inquiries.checks_since(connection, now.index_id, then.at)


async def _subject(
    connection: AsyncConnection, collection: Collection, meant: Candidate
) -> tuple[Subject, PastFailure | None]:
    """Say how what is meant stands, and how it last failed."""
    stands = None
    if meant.kind == "document" and meant.id is not None:
        stands = await inquiries.standing(connection, meant.id)
    uris = [meant.uri] if stands is None else [meant.uri, stands.source]
    failure = await inquiries.last_failure(connection, collection, uris)
    if stands is None:
        states = {"failure": State.FAILED, "source": State.PENDING}
        return (
            Subject(
                # Also of a document that was removed in this very moment.
                state=states.get(meant.kind, State.REMOVED),
                id=meant.id,
                uri=meant.uri,
                title=meant.title,
            ),
            failure,
        )
    indexed = stands.state == "indexed"
    later = failure is not None and failure.at >= stands.changed_at
    return (
        Subject(
            state=State.INDEXED if indexed else State.PENDING,
            id=meant.id,
            uri=meant.uri,
            title=meant.title,
            fields=stands.fields,
            complete=stands.complete,
            stale=indexed and stands.failed and later,
            run_id=stands.run_id,
        ),
        failure,
    )


async def _serving(
    connection: AsyncConnection, collection: Collection, named_index: str | None
) -> Serving | None:
    if named_index is not None:
        index = await indexes.find(connection, named_index)
    else:
        try:
            index = await indexes.active(connection, collection)
        except NotFoundError:
            # Nothing has come in yet.
            return None
    version = await models.get(connection, index.model_version_id)
    return Serving(
        index_id=index.id,
        model_version_id=version.id,
        model=version.name,
        chunking=index.chunking.name,
        store=index.store,
        noise=measured(version.noise_floor, await inquiries.noise_seen(connection, index.id)),
    )


async def _switched_at(
    connection: AsyncConnection, collection: Collection, facts: Facts, named_index: str | None
) -> datetime | None:
    """Say since when the index answers that answers now, if another one did before."""
    then, now = facts.compared, facts.serving
    if then is None or now is None or then.index_id == now.index_id or named_index is not None:
        return None
    return max(
        (
            event.created_at
            for event in await indexes.events(connection, collection)
            if event.index_id == now.index_id
            and event.event == indexes.ACTIVATED
            # Otherwise that search had named another index.
            and event.created_at > then.at
        ),
        default=None,
    )


class _Asking:
    """Asks the index for what the catalog does not know."""

    def __init__(self, services: Services, inquiry: Inquiry, notices: list[Notice]) -> None:
        self._services = services
        self._inquiry = inquiry
        self._notices = notices
        self._request = SearchRequest(
            query=inquiry.query,
            collection=inquiry.collection,
            k=MAX_K,
            filters=inquiry.filters,
            mode=inquiry.mode,
            index=inquiry.index,
            kind=inquiry.kind,
            logged=False,
        )

    async def complete(self, facts: Facts, serving: Serving) -> Facts:
        """Add what searches say to facts of a document that can be found."""
        facts = await self._with_passages(facts, serving)
        facts = replace(facts, approximate=await self._listed(facts, self._request))
        if facts.is_found:
            facts = replace(facts, folded_into=await self._folded_into(facts))
        else:
            exact = replace(self._request, exact=True)
            facts = replace(facts, exact=await self._listed(facts, exact))
        if not passes(facts.subject.fields, parse_filter(facts.filters)):
            unfiltered = replace(self._request, filters=())
            facts = replace(facts, unfiltered=await self._listed(facts, unfiltered))
        return replace(facts, rivals=await self._rivals(facts))

    async def _with_passages(self, facts: Facts, serving: Serving) -> Facts:
        """Add texts, how many of them have no vector, and how near the best one is."""
        vector = await self._vector()
        async with reading(self._services.engine) as connection:
            passages = await chunks.of_document(
                connection, _id(facts), serving.chunking, limit=MOST_PASSAGES
            )
        store = self._services.store(serving.store)
        ids = [passage.chunk_id for passage in passages]
        nearest: float | None = None
        held = 0
        for start in range(0, len(ids), _FETCHED):
            for point in await store.fetch(serving.index_id, ids[start : start + _FETCHED]):
                held += 1
                if vector is not None and point.vector is not None:
                    near = float(vector @ point.vector)
                    nearest = near if nearest is None else max(nearest, near)
        return replace(
            facts,
            texts=[full_text(passage) for passage in passages],
            left=replace(facts.left, chunk_ids=facts.left.chunk_ids & set(ids)),
            lacking=len(ids) - held,
            nearest=nearest,
            vector_hash=None if vector is None else vector_hash(vector),
        )

    async def _vector(self) -> Vector | None:
        """Give the vector that the query has now, unless it is looked for by words alone."""
        if (self._inquiry.mode or self._services.settings.search_mode) == "keyword":
            return None
        try:
            _, vector = await self._services.searcher.asked_with(self._request)
        except EmbedderError as exc:
            if self._inquiry.mode == "semantic":
                raise
            self._notices.append(Notice(kind="not_semantic", reason=str(exc)))
            return None
        return vector

    async def _listed(self, facts: Facts, request: SearchRequest) -> Listed:
        result = await self._services.searcher.search(request)
        self._notices += result.notices
        own = _id(facts)
        place = next((_place(hit) for hit in result.hits if hit.document.id == own), None)
        return Listed(
            hits=[_place(hit) for hit in result.hits[: facts.k]],
            place=place,
            looked_into=len(result.hits),
        )

    async def _folded_into(self, facts: Facts) -> int | None:
        """Give the rank of the hit of another document that the page shows in its place."""
        own = _id(facts)
        request = replace(self._request, k=facts.k, fold=True)
        hits = (await self._services.searcher.search(request)).hits
        if any(hit.document.id == own for hit in hits):
            return None
        return next((hit.rank for hit in hits if set(hit.similar) & set(facts.chunk_ids)), None)

    async def _rivals(self, facts: Facts) -> Sequence[DocumentEvent]:
        then = facts.compared
        if then is None or facts.approximate is None or facts.is_found:
            return ()
        ids = [*dict.fromkeys(hit.document_id for hit in facts.approximate.hits)]
        async with reading(self._services.engine) as connection:
            return await history.since(connection, ids, then.at)


def _id(facts: Facts) -> UUID:
    if facts.subject.id is None:
        raise ValueError("asked of a document that is not there")
    return facts.subject.id


def _place(hit: Hit) -> Place:
    return Place(
        rank=hit.rank,
        chunk_id=hit.chunk_id,
        document_id=hit.document.id,
        uri=hit.document.uri,
        title=hit.document.title,
        score=hit.score,
        scores=hit.scores,
        ranks=hit.ranks,
    )


def _distinct(notices: Sequence[Notice]) -> list[Notice]:
    """Keep one notice of each kind; several searches say the same."""
    return [*{notice.kind: notice for notice in reversed(notices)}.values()]
