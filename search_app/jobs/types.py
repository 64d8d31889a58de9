"""What a job is."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from search_app.errors import InvalidInputError
from search_app.types import JSON

QUEUE = "documents"
"""The queue that work on documents waits in, unless another one is named."""

INGEST, REMOVE, RETRY, DELETE = "ingest", "remove", "retry", "delete"
"""The kinds of jobs, which are the names of the tasks that do them."""

REINDEX = "reindex"
"""Building an index beside the one that answers; other jobs of the collection go on meanwhile."""

CHECK = "check"
"""Checking the active index, beside whatever else is done with the collection."""

ANALYSE = "analyse"
"""Clusters, outliers, diversity or labels of an index, beside whatever else is done with it."""

PART = "part"
"""A helper of a job: it takes part in its run, see ``ingest.sharing``. Nobody asks for it."""

KINDS = (INGEST, REMOVE, RETRY, DELETE, REINDEX, CHECK, ANALYSE)
"""What is asked for and shown; a queue may hold other tasks too, of the queue itself."""

SILENT_S = 20
"""Seconds without a sign of life after which a worker counts as dead."""

MOST_ATTEMPTS = 10
"""How often a job is begun, at most, when its worker dies or a service does not answer."""


_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

_LEAST_SHARE = 0.02
"""How much must be done before it says anything about the rest."""


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

    ``kind`` is ingest, remove, retry, delete, reindex, check or analyse; ``queue`` where it waits.
    ``arguments`` are paths and web addresses: what to ingest, or which sources to remove.
    ``run_id`` is the latest run that works on it or did; a job that was interrupted has several.
    ``counts`` are that run's so far, in the shape that ``ingest add --json`` prints, and
    ``progress`` says how far it is: sources_found (None until counted), sources_read,
    chunks_planned, chunks_written; both are empty before the run begins. ``failures`` is how many
    sources failed in it; ``workers`` how many take part in it now, or did. ``run_seconds`` is how
    long that run has gone on, or took. ``reason`` says why the job failed, or why it waits to be
    tried again. ``check_id`` and ``verdict`` are what a check came to.
    """

    id: int
    kind: str
    queue: str
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
    workers: int
    run_seconds: float | None
    reason: str | None
    check_id: UUID | None
    verdict: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    def as_json(self) -> dict[str, JSON]:
        """Give the job in the shape that users get; what is estimated is in it."""
        times = {name: getattr(self, name) for name in ("created_at", "started_at", "finished_at")}
        return {
            **asdict(self),
            **{name: moment and moment.isoformat() for name, moment in times.items()},
            "run_id": self.run_id and str(self.run_id),
            "check_id": self.check_id and str(self.check_id),
            "arguments": list(self.arguments),
            "rate": None if self.rate is None else round(self.rate, 1),
            "seconds_left": None if self.seconds_left is None else round(self.seconds_left),
        }

    @property
    def ended(self) -> bool:
        """Say whether nothing more will happen to it."""
        return self.status not in (JobStatus.WAITING, JobStatus.RUNNING)

    @property
    def rate(self) -> float | None:
        """Give how many chunks a second came in over the whole run; None before the first."""
        written: int = self.progress.get("chunks_written") or 0
        return written / self.run_seconds if written and self.run_seconds else None

    @property
    def seconds_left(self) -> float | None:
        """Estimate how long the run will take yet; None where that cannot be said.

        Sources are taken to be alike, and those that are read to be as far as their chunks are.
        """
        found: int | None = self.progress.get("sources_found")
        read: int = self.progress.get("sources_read") or 0
        if self.status is not JobStatus.RUNNING or not found or not self.run_seconds:
            return None
        planned: int = self.progress.get("chunks_planned") or 0
        share = read / found
        if planned:
            share *= (self.progress.get("chunks_written") or 0) / planned
        if share < _LEAST_SHARE:
            return None
        return self.run_seconds * (1 - share) / share


def check_queue(name: str) -> str:
    """Give the name of a queue.

    Raises:
        InvalidInputError: it cannot be one.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInputError(
            f"queue {name[:80]!r}: a name has letters, digits, - and _, and at most 64 of them"
        )
    return name


def lock_of(collection: str) -> str:
    """Name the lock that lets the jobs of a collection run one at a time, in order."""
    return f"collection {collection}"


def builders_lock_of(collection: str) -> str:
    """Name the lock of the jobs that build indexes of a collection, beside the others."""
    return f"indexes of collection {collection}"


def checks_lock_of(collection: str) -> str:
    """Name the lock of the jobs that check a collection, beside the others."""
    return f"checks of collection {collection}"


def analyses_lock_of(collection: str) -> str:
    """Name the lock of the jobs that analyse a collection, beside the others."""
    return f"analyses of collection {collection}"


def lock_for(kind: str, collection: str) -> str:
    """Name the lock that a job of a kind takes."""
    locks = {REINDEX: builders_lock_of, CHECK: checks_lock_of, ANALYSE: analyses_lock_of}
    return locks.get(kind, lock_of)(collection)
