"""What a job is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from search_app.types import JSON

QUEUE = "documents"
"""The queue that work on documents waits in; the workers' own housekeeping has another."""

INGEST, REMOVE, RETRY, DELETE = "ingest", "remove", "retry", "delete"
"""The kinds of jobs, which are the names of the tasks that do them."""

SILENT_S = 20
"""Seconds without a sign of life after which a worker counts as dead."""

MOST_ATTEMPTS = 10
"""How often a job is begun, at most, when its worker dies or a service does not answer."""


class JobStatus(StrEnum):
    """How a job stands or ended."""

    WAITING = "waiting"
    """For a worker, for an earlier job of its collection, or to be tried again."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    """Its run ended; single sources may have failed."""
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, kw_only=True)
class Job:
    """A piece of queued work.

    ``kind`` is ingest, remove, retry or delete. ``arguments`` are paths and web addresses: what to
    ingest, or which sources to remove. ``run_id`` is the latest run that works on it or did; a job
    that was interrupted has several. ``counts`` are that run's so far, in the shape that
    ``ingest add --json`` prints, and ``progress`` says how far it is: sources_found (None until
    counted), sources_read, chunks_planned, chunks_written; both are empty before the run begins.
    ``failures`` is how many sources failed in it. ``reason`` says why the job failed, or why it
    waits to be tried again.
    """

    id: int
    kind: str
    collection: str
    arguments: Sequence[str]
    force: bool
    prune: bool
    status: JobStatus
    attempts: int
    run_id: UUID | None
    counts: Mapping[str, JSON]
    progress: Mapping[str, JSON]
    failures: int
    reason: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def ended(self) -> bool:
        """Say whether nothing more will happen to it."""
        return self.status not in (JobStatus.WAITING, JobStatus.RUNNING)


def lock_of(collection: str) -> str:
    """Name the lock that lets the jobs of a collection run one at a time, in order."""
    return f"collection {collection}"
