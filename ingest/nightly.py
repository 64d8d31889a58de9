"""Checks that nobody waits for: as queued jobs, and of all collections one after the other."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import structlog

from search_app.alerts import telling
from search_app.bootstrap import Services
from search_app.catalog.engine import reading, transaction
from search_app.consistency.checking import check
from search_app.consistency.subject import CheckRequest
from search_app.consistency.types import CheckReport
from search_app.errors import UnmovedError
from search_app.jobs import checked
from search_app.jobs.checked import Checked
from search_app.jobs.nightly import checkable

log = structlog.get_logger()


async def check_for_job(
    services: Services, collection: str, *, job_id: int, attempts: int
) -> Checked:
    """Check the active index of a collection, and keep what the job came to.

    A job that is tried again is content with a check that ended since it was asked for: its own,
    whose worker was killed in the last moment, or the one that kept it from beginning.

    Raises:
        CheckUnderWayError: another check has not ended yet.
        UnmovedError: nothing could be checked.
    """
    found = None
    if attempts:
        async with reading(services.engine) as connection:
            found = await checked.made_since_asked(connection, job_id)
    if found is None:
        report = await check(services, CheckRequest(collection=collection))
        found = Checked(check_id=report.check_id, verdict=report.verdict.value)
    async with transaction(services.engine) as connection:
        await checked.note(connection, job_id, found.check_id)
    return found


async def check_and_tell(services: Services, request: CheckRequest) -> CheckReport:
    """Check as ``check`` does, and then tell whoever is to be told; that never fails the check."""
    report = await check(services, request)
    try:
        await telling.tend(services)
    except UnmovedError as exc:
        log.warning("alerts cannot be looked after", reason=str(exc))
    return report


@dataclass(frozen=True, kw_only=True)
class CheckedCollection:
    """A collection with the report on it, or with why there is none."""

    collection: str
    report: CheckReport | None = None
    problem: UnmovedError | None = None


async def check_all(services: Services, request: CheckRequest) -> AsyncIterator[CheckedCollection]:
    """Check every collection in the way of a request, by name; one that cannot be costs no other.

    Raises:
        CatalogError: the collections cannot be listed.
    """
    async with reading(services.engine) as connection:
        names = await checkable(connection)
    for name in names:
        try:
            report = await check_and_tell(services, replace(request, collection=name))
        except UnmovedError as exc:
            yield CheckedCollection(collection=name, problem=exc)
        else:
            yield CheckedCollection(collection=name, report=report)
