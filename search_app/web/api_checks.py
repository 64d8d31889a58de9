"""The JSON API of checks: do the rankings still hold, and if not, why?"""

from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from search_app import jobs
from search_app.catalog import addressing, nights
from search_app.catalog.engine import reading
from search_app.catalog.nights import Night, Standing
from search_app.consistency import keeping
from search_app.reports.file import as_html, policy
from search_app.reports.loading import load
from search_app.web.answers import described
from search_app.web.api import Limit, Offset, json_only
from search_app.web.api_actions import asked
from search_app.web.check_schemas import (
    Accepted,
    AskForCheck,
    CheckJson,
    Checks,
    CheckSummary,
    ReportJson,
    StandingJson,
)
from search_app.web.check_sign import Signs, oldest, state_of_standing
from search_app.web.deps import ServicesDep
from search_app.web.job_schemas import JobAnswer
from search_app.web.problems import Kind

CheckName = Annotated[str, Path(description="Id of the check, or the beginning of it")]

_CHANGING = (
    Kind.INVALID_INPUT,
    Kind.CROSS_ORIGIN,
    Kind.NOT_FOUND,
    Kind.TOO_LARGE,
    Kind.NOT_JSON,
    Kind.INVALID_BODY,
)

router = APIRouter(prefix="/api/v1", tags=["v1"])


@router.get("/checks", name="checks", responses=described(Kind.NOT_FOUND, Kind.INVALID_BODY))
async def list_checks(
    services: ServicesDep,
    collection: Annotated[str | None, Query(description="Only checks of this collection")] = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> Checks:
    """List checks, newest first, and how the active indexes stand."""
    async with reading(services.engine) as connection:
        name = None
        if collection is not None:
            name = (await addressing.at(connection, collection)).name
        found = await nights.listing(connection, collection=name, limit=limit + 1, offset=offset)
        standings = await nights.standings(connection)
    since = oldest(services.settings, datetime.now(UTC))
    return Checks(
        checks=[_summary(night) for night in found[:limit]],
        standings=[_standing(each, since) for each in standings if name in (None, each.collection)],
        more=len(found) > limit,
    )


@router.post(
    "/checks",
    name="ask_for_check",
    dependencies=[Depends(json_only)],
    responses=described(*_CHANGING),
    status_code=202,
)
async def ask_for_check(response: Response, services: ServicesDep, body: AskForCheck) -> JobAnswer:
    """Ask for the active index of a collection to be checked by a worker."""
    async with reading(services.engine) as connection:
        name = (await addressing.at(connection, body.collection)).name
    return await asked(
        services, response, await jobs.enqueue_check(services.engine, collection=name)
    )


@router.get(
    "/checks/{check}",
    name="check",
    responses=described(Kind.INVALID_INPUT, Kind.NOT_FOUND, Kind.INVALID_BODY),
)
async def get_check(services: ServicesDep, check: CheckName) -> CheckJson:
    """Get the whole report of a check."""
    kept = await load(services.engine, check)
    return CheckJson(
        is_latest=kept.is_latest,
        accepted_at=kept.check.accepted_at,
        report=ReportJson.model_validate(dict(kept.check.report), strict=False),
    )


@router.get(
    "/checks/{check}/report.html",
    name="check_report",
    response_class=Response,
    responses={
        200: {
            "description": "The report",
            "content": {"text/html": {"example": "<!doctype html>…"}},
        },
        **described(Kind.INVALID_INPUT, Kind.NOT_FOUND, Kind.INVALID_BODY),
    },
)
async def get_report(
    services: ServicesDep,
    check: CheckName,
    language: Annotated[
        Literal["en", "ja"], Query(description="The language of the report")
    ] = "en",
) -> Response:
    """Get a report as one HTML file that needs nothing else and can be mailed."""
    kept = await load(services.engine, check)
    text = as_html(kept.check.report, kept.nights, language)
    name = f"check-{str(kept.check.id)[:8]}.html"
    return Response(
        text.encode("utf-8", errors="replace"),
        media_type="text/html",
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Content-Language": language,
            "Content-Security-Policy": policy(),
        },
    )


@router.post(
    "/checks/{check}/accept",
    name="accept_check",
    dependencies=[Depends(json_only)],
    responses=described(*_CHANGING),
)
async def accept_check(request: Request, services: ServicesDep, check: CheckName) -> Accepted:
    """Take what the latest check of an index saw as the new baseline: a person's decision."""
    accepted = await keeping.accept(services.engine, check)
    signs: Signs = request.app.state.signs
    signs.forget()
    return Accepted(
        check_id=accepted.id, collection=accepted.collection, index_id=accepted.index_id
    )


def _summary(night: Night) -> CheckSummary:
    shared = CheckSummary.model_fields.keys() & vars(night).keys()
    return CheckSummary(
        **{name: vars(night)[name] for name in shared},
        drift_evidence=night.drift,
        reproducibility_evidence=night.reproducibility,
    )


def _standing(standing: Standing, since: datetime) -> StandingJson:
    night = standing.night
    return StandingJson.model_validate(
        {
            "collection": standing.collection,
            "index_id": standing.index_id,
            "state": state_of_standing(standing, since),
            "check_id": night.id if night else None,
            "at": night.at if night else None,
            "running": standing.running,
        }
    )
