"""One evaluation, from a golden set to scores. The command and the benchmarks call this."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ingest.deletion import delete_collection
from ingest.evaluation.asking import Asking, ask_all
from ingest.evaluation.collection import check_free, index, stage, throwaway_name
from ingest.evaluation.costing import measure_cost
from ingest.evaluation.golden import GoldenSet, Query, chosen
from ingest.evaluation.report import Evaluation, Measured
from ingest.evaluation.scoring import score
from ingest.evaluation.variants import Variant
from ingest.report import Progress
from search_app.bootstrap import Services
from search_app.catalog import collections as collection_rows
from search_app.catalog import indexes, models
from search_app.catalog.engine import reading
from search_app.errors import NotFoundError
from search_app.grammar import parse_filter
from search_app.types import JSON


class Watcher(Protocol):
    """Shows how far an evaluation is."""

    def indexing(self, path: Path, documents: int) -> AbstractContextManager[Progress]:
        """Documents are being indexed from a file."""

    def asking(self, label: str, queries: int) -> AbstractContextManager[Callable[[], None]]:
        """Queries are being asked; what is given is called after each."""


@dataclass(frozen=True, kw_only=True)
class EvaluationRequest:
    """What to evaluate and how; ``keep`` names the collection that stays, empty: none does."""

    golden: GoldenSet
    variants: Sequence[Variant]
    k: int = 10
    filters: Sequence[str] = ()
    limit: int | None = None
    keep: str = ""


async def evaluate(services: Services, request: EvaluationRequest, watcher: Watcher) -> Evaluation:
    """Index the documents, ask the queries in every way, and score what was found.

    Collections that were made are deleted at the end and where it is cut short, unless they are to
    be kept.

    Raises:
        InvalidInputError: the request cannot be meant, or documents cannot be read.
        DegradedSearchError: a search was not answered in the way that is measured.
        EmbedderError, StoreError, CatalogError: as ingest and search do.
    """
    parse_filter(request.filters)
    for variant in request.variants:
        # Not only once the ones before it are measured.
        Services(variant.settings, services.engine).precision(variant.settings.store)
    queries = chosen(request.golden.queries, request.limit)
    work = _Work(services, request, watcher)
    try:
        measured = [await work.measure(variant, queries) for variant in request.variants]
    finally:
        await work.end()
    return Evaluation(
        golden=request.golden,
        queries=queries,
        k=request.k,
        measured=measured,
        kept=bool(request.keep),
    )


class _Work:
    """An evaluation under way: the services of the variant at hand, the collections made so far."""

    def __init__(self, services: Services, request: EvaluationRequest, watcher: Watcher) -> None:
        self._services = services
        self._request = request
        self._watcher = watcher
        self._names: dict[tuple[JSON, ...], str] = {}
        self._own: Services | None = None

    async def measure(self, variant: Variant, queries: Sequence[Query]) -> Measured:
        """Index where no earlier variant has, and ask."""
        own = await self._services_of(variant)
        started = time.perf_counter()
        if variant.indexing not in self._names:
            await self._index(own, variant)
        indexed = time.perf_counter()
        name = self._names[variant.indexing]
        asking = Asking(
            searcher=own.searcher, collection=name, filters=self._request.filters, variant=variant
        )
        with self._watcher.asking(variant.label, len(queries)) as asked:
            rankings = await ask_all(asking, queries, asked)
        answered = time.perf_counter()
        cost = None
        if variant.settings.search_mode != "keyword":
            cost = await measure_cost(own, name, queries, exact=variant.exact)
        return Measured(
            variant=variant,
            collection=name,
            model=await _model(own, name),
            scores=score(queries, rankings, self._request.k),
            index_s=indexed - started,
            queries_s=answered - indexed,
            cost=cost,
        )

    async def end(self) -> None:
        """Release what was opened, and delete what is not to be kept."""
        await self._close()
        if not self._request.keep:
            for name in self._names.values():
                with suppress(NotFoundError):
                    # Cut short before it was made.
                    await delete_collection(self._services, name, waiting=lambda: None)

    async def _services_of(self, variant: Variant) -> Services:
        """Give services with the settings of a variant, kept while the same ones will do.

        One at a time: a model may fill the memory, and a local store lets only one in.
        """
        if self._own is None or not variant.can_use(self._own.settings):
            await self._close()
            self._own = Services(variant.settings, self._services.engine)
        return self._own

    async def _close(self) -> None:
        own, self._own = self._own, None
        if own is not None:
            await own.aclose()

    async def _index(self, own: Services, variant: Variant) -> None:
        golden, keep = self._request.golden, self._request.keep
        name = throwaway_name()
        if keep:
            number = len(self._names) + 1
            name = keep if number == 1 else f"{keep}-{number}"
            await check_free(own, name, variant)
        # Before it is there: what is cut short has to be deleted too.
        self._names[variant.indexing] = name
        path = await stage(own, golden, variant, name)
        with self._watcher.indexing(path, golden.documents) as progress:
            await index(own, path, name, progress)


async def _model(services: Services, name: str) -> str:
    async with reading(services.engine) as connection:
        collection = await collection_rows.get(connection, name)
        active = await indexes.active(connection, collection)
        return (await models.get(connection, active.model_version_id)).name
