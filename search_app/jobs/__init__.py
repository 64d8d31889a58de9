"""Queued work: asking for it, and seeing how it goes. The work itself is done by ``ingest worker``.

The queue is procrastinate's, in the same database; work is asked for by its SQL function, so that
whoever only asks needs neither the tasks nor a second pool of connections.
"""

from search_app.jobs.asking import (
    ask_for_help,
    cancel,
    cancel_help,
    cancel_waiting,
    cause_of,
    enqueue_analysis,
    enqueue_check,
    enqueue_delete,
    enqueue_ingest,
    enqueue_reindex,
    enqueue_remove,
    enqueue_retry,
    may_change,
    repeat,
)
from search_app.jobs.looking import get, listing, others_wait, waiting, worker_alive
from search_app.jobs.renaming import rename_collection
from search_app.jobs.types import SILENT_S, Job, JobStatus

__all__ = [
    "SILENT_S",
    "Job",
    "JobStatus",
    "ask_for_help",
    "cancel",
    "cancel_help",
    "cancel_waiting",
    "cause_of",
    "enqueue_analysis",
    "enqueue_check",
    "enqueue_delete",
    "enqueue_ingest",
    "enqueue_reindex",
    "enqueue_remove",
    "enqueue_retry",
    "get",
    "listing",
    "may_change",
    "others_wait",
    "rename_collection",
    "repeat",
    "waiting",
    "worker_alive",
]
