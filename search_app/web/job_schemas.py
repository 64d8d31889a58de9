"""The JSON of queued work: what is asked for, and how it goes."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import ConfigDict, Field

from search_app.jobs import JobStatus
from search_app.types import JSON
from search_app.web.job_examples import EXAMPLES
from search_app.web.schemas import Model

MOST_ARGUMENTS = 1_000

_Texts = Annotated[tuple[str, ...], Field(strict=False, min_length=1, max_length=MOST_ARGUMENTS)]


def _example(name: str) -> ConfigDict:
    return ConfigDict(json_schema_extra={"example": EXAMPLES[name]})


class IngestBody(Model):
    """What to ingest."""

    model_config = _example("ingest")

    arguments: Annotated[
        _Texts,
        Field(
            description="Web addresses, sources that the collection has already, and whole paths "
            "below the folders of UNMOVED_INGEST_ROOTS"
        ),
    ]
    force: Annotated[bool, Field(description="Read sources again that have not changed since")] = (
        False
    )
    prune: Annotated[bool, Field(description="Remove documents whose files are gone")] = False
    budget: Annotated[
        float | None,
        Field(ge=0, description="Most money that may be spent, in the currency of the prices"),
    ] = None


class RemoveBody(Model):
    """What to remove."""

    model_config = _example("remove")

    sources: Annotated[
        _Texts, Field(description="Sources, or folders with all that lies below them")
    ]


class JobJson(Model):
    """A piece of queued work.

    ``progress`` and ``counts`` are those of the run ``run_id``, so far or in the end; ``failures``
    is how many sources failed in it, ``workers`` how many take part in it or did. ``rate`` is in
    chunks a second; ``seconds_left`` is estimated from what is read, null where that says nothing.
    ``reason`` says why the job failed or waits to be tried again. ``check_id`` and ``verdict`` are
    what a check came to.
    """

    id: int
    kind: str
    queue: str
    collection: str
    arguments: list[str]
    force: bool
    prune: bool
    status: JobStatus
    attempts: int
    run_id: UUID | None
    counts: dict[str, JSON]
    progress: dict[str, JSON]
    failures: int
    workers: int
    rate: float | None
    seconds_left: float | None
    reason: str | None
    check_id: UUID | None
    verdict: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class JobAnswer(JobJson):
    """A job; without a worker alive, it waits until one is started."""

    model_config = _example("job")

    worker_alive: bool


class Jobs(Model):
    """Jobs, newest first; without a worker alive, those that wait go on waiting."""

    model_config = _example("jobs")

    jobs: list[JobJson]
    more: bool
    worker_alive: bool


class ScheduleBody(Model):
    """What to ingest again and again, and when: with an interval from now on, or by a cron line."""

    model_config = _example("schedule_body")

    arguments: Annotated[
        _Texts,
        Field(
            description="Web addresses, sources that the collection has already, and whole paths "
            "below the folders of UNMOVED_INGEST_ROOTS"
        ),
    ]
    every: Annotated[
        str | None, Field(description="A number and m, h, d or w, such as 6h", max_length=40)
    ] = None
    cron: Annotated[
        str | None, Field(description="A cron line, such as 0 3 * * *", max_length=200)
    ] = None
    timezone: Annotated[str, Field(description="The time zone of the cron line", max_length=80)] = (
        "UTC"
    )
    prune: Annotated[bool, Field(description="Remove documents whose files are gone")] = False


class ScheduleJson(Model):
    """Sources that are ingested again and again; times are UTC."""

    model_config = _example("schedule")

    id: int
    collection: str
    arguments: list[str]
    prune: bool
    every: str | None
    cron: str | None
    timezone: str
    next_at: datetime
    last_at: datetime | None
    last_job_id: int | None
    created_at: datetime


class Schedules(Model):
    """What is ingested again and again."""

    model_config = _example("schedules")

    schedules: list[ScheduleJson]
