"""The web application, put together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from functools import cache, partial

from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from search_app.bootstrap import Services, open_services
from search_app.config import Settings
from search_app.errors import UnmovedError
from search_app.groups import Groups
from search_app.web import (
    access_page,
    analysis_pages,
    api,
    api_actions,
    api_analyses,
    api_ask,
    api_assist,
    api_checks,
    api_collections,
    api_compare,
    api_costs,
    api_exclusions,
    api_export,
    api_facets,
    api_indexes,
    api_keys,
    api_maps,
    api_provenance,
    api_query_vectors,
    api_recommend,
    api_runs,
    api_schedules,
    api_why,
    ask_page,
    check_pages,
    check_sign,
    collection_pages,
    compare_page,
    docs_page,
    document_list_page,
    document_page,
    exclusions_page,
    explore_page,
    failure_pages,
    feedback_page,
    group_page,
    health,
    index_pages,
    job_pages,
    login_page,
    map_page,
    metrics,
    model_pages,
    preferences,
    provenance_page,
    recommend_page,
    run_pages,
    search_page,
    upload_page,
    why_page,
)
from search_app.web.access import Access, Gate
from search_app.web.assets import Assets
from search_app.web.check_sign import Signs
from search_app.web.counting import Counter
from search_app.web.csrf import FormTokens
from search_app.web.description import describe
from search_app.web.etags import Etags
from search_app.web.failures import answer
from search_app.web.guard import Guard, allowed_origins, served_hosts
from search_app.web.keys import load_key
from search_app.web.metrics import RequestTimes, TimeRequests
from search_app.web.problems import ProblemError
from search_app.web.rendering import Renderer
from search_app.web.request_ids import RequestIds
from search_app.web.suggesting import Suggester
from search_app.web.tracing import TraceRequests, make_tracing

DESCRIPTION = """
Search over your own documents. Every answer names the index, the model version and the run that
made it. Failures are `application/problem+json` after RFC 9457.
""".strip()


def create_app(settings: Settings, services: Services | None = None) -> FastAPI:
    """Make the application.

    Nothing is opened before it starts. With ``services`` given, those are used and left open;
    otherwise it opens its own and releases them when it stops.
    """
    assets = Assets()
    times = RequestTimes()
    gate = Gate(settings)
    tracing = make_tracing(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.renderer = Renderer(assets=assets, tokens=FormTokens(load_key(settings)))
        async with nullcontext(services) if services else open_services(settings) as opened:
            app.state.services = opened
            # Set by whoever runs this when it is to stop, for streams that would go on.
            app.state.closing = asyncio.Event()
            app.state.counter = Counter(opened.engine)
            app.state.groups = Groups(opened)
            app.state.signs = Signs(opened.engine, opened.settings)
            app.state.suggester = Suggester(opened.engine, past=settings.query_log)
            try:
                yield
            finally:
                if tracing is not None:
                    await asyncio.to_thread(tracing.close)

    app = FastAPI(
        title="Unmoved",
        version="1",
        description=DESCRIPTION,
        lifespan=lifespan,
        # The built-in pages load scripts from a CDN; docs_page.py is our own.
        docs_url=None,
        redoc_url=None,
        middleware=[
            Middleware(RequestIds),
            *_for_other_sites(settings),
            Middleware(Guard, hosts=served_hosts(settings), origins=allowed_origins(settings)),
            Middleware(TimeRequests, times=times),
            *([] if tracing is None else [Middleware(TraceRequests, tracing=tracing)]),
            Middleware(Access, gate=gate),
            Middleware(Etags),
        ],
        exception_handlers=dict.fromkeys(
            (HTTPException, RequestValidationError, UnmovedError, ProblemError), answer
        ),
        # No request ever leaves for elsewhere, whatever the environment says.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.request_times = times
    app.state.gate = gate
    app.mount("/static", assets, name="static")
    pages = (
        search_page,
        ask_page,
        recommend_page,
        group_page,
        why_page,
        document_page,
        provenance_page,
        run_pages,
        docs_page,
        preferences,
        health,
        metrics,
    )
    care = (
        check_pages,
        analysis_pages,
        map_page,
        explore_page,
        exclusions_page,
        collection_pages,
        index_pages,
        compare_page,
        document_list_page,
        upload_page,
        failure_pages,
        feedback_page,
        job_pages,
        model_pages,
        login_page,
        access_page,
    )
    interfaces = (
        # Before the address of a run, whose id `diff` is not.
        api_runs,
        api,
        api_collections,
        api_actions,
        api_exclusions,
        api_facets,
        api_assist,
        api_recommend,
        api_provenance,
        api_schedules,
        api_why,
        api_ask,
        api_compare,
        api_indexes,
        api_export,
        api_checks,
        api_analyses,
        api_maps,
        api_query_vectors,
        api_costs,
        api_keys,
    )
    # For supervisors, whom no sign is shown and who must be answered without the catalog.
    unsigned = (health, metrics)
    for module in (*interfaces, *pages, *care):
        signed = () if module in (*interfaces, *unsigned) else (Depends(check_sign.look),)
        app.include_router(module.router, dependencies=signed)
    app.openapi = cache(partial(describe, app))  # type: ignore[method-assign] # the way FastAPI documents
    return app


def _for_other_sites(settings: Settings) -> list[Middleware]:
    """Let pages of the sites that the settings name use the API, with keys and never cookies."""
    origins = allowed_origins(settings)
    if not origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=sorted(origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "If-None-Match", "X-Request-ID"],
            expose_headers=["ETag", "Location", "Retry-After", "X-Request-ID"],
        )
    ]
