"""Asking for work, and taking it back."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from search_app.access.principal import acting
from search_app.access.scopes import Scope
from search_app.catalog import collections
from search_app.catalog.engine import transaction
from search_app.errors import InvalidInputError, NotFoundError, NotPermittedError
from search_app.jobs.looking import find
from search_app.jobs.types import (
    ANALYSE,
    CHECK,
    DELETE,
    INGEST,
    PART,
    QUEUE,
    REINDEX,
    REMOVE,
    RETRY,
    Job,
    analyses_lock_of,
    builders_lock_of,
    check_queue,
    checks_lock_of,
    lock_for,
    lock_of,
)
from search_app.stages import trace_context
from search_app.types import JSON


async def enqueue_ingest(
    engine: AsyncEngine,
    *,
    collection: str,
    arguments: Sequence[str],
    force: bool = False,
    prune: bool = False,
    load: Mapping[str, JSON] | None = None,
    embedder: str | None = None,
    store: str | None = None,
    precision: str | None = None,
    budget: float | None = None,
    queue: str = QUEUE,
) -> Job:
    """Ask for paths or web addresses to be ingested; the collection need not exist yet.

    Paths must be absolute, since a worker runs elsewhere. Asking for what already waits gives the
    job that waits; so do all functions of this kind here. ``load`` are options to read with, as
    ``LoadOptions.as_json`` gives them; without, known sources are read as they were before.

    Raises:
        InvalidInputError: no argument, a relative path, or a name that no collection can have.
        NotFoundError: the collection is being deleted.
    """
    check_arguments(arguments)
    check_queue(queue)
    given = {
        "load": load,
        "embedder": embedder,
        "store": store,
        "precision": precision,
        "budget": budget,
    }
    async with transaction(engine) as connection:
        return await enqueue_ingest_with(
            connection,
            collection,
            {
                "arguments": list(arguments),
                "force": force,
                "prune": prune,
                **{name: value for name, value in given.items() if value is not None},
            },
            queue=queue,
        )


async def enqueue_ingest_with(
    connection: AsyncConnection,
    collection: str,
    options: Mapping[str, JSON],
    *,
    queue: str = QUEUE,
) -> Job:
    """Ask for an ingest over a connection, in its transaction; the arguments are checked.

    Raises:
        NotFoundError: the collection is being deleted.
    """
    await collections.check_open(connection, collection)
    return await _enqueue(connection, INGEST, collection, options, queue=queue)


async def ask_for_help(
    engine: AsyncEngine, assignment: Mapping[str, JSON], *, queue: str, helpers: int
) -> None:
    """Ask so many workers to take part in a run, once they have nothing else to do."""
    if helpers < 1:
        return
    async with transaction(engine) as connection:
        deferred = await connection.scalar(
            _ASK_FOR_HELP,
            {"queue": queue, "part": PART, "args": json.dumps(assignment), "helpers": helpers},
        )
        await _note_cause(connection, deferred)


async def cancel_help(engine: AsyncEngine, run_id: UUID) -> None:
    """Ask nobody any more to take part in a run; those who do go on."""
    async with transaction(engine) as connection:
        await connection.execute(_CANCEL_HELP, {"part": PART, "run": str(run_id)})


async def repeat(engine: AsyncEngine, job_id: int) -> Job:
    """Ask anew for what a job did that has ended, and give the new job.

    Raises:
        NotFoundError: there is none, or its collection is gone.
        NotPermittedError: whoever asks may not ask for such work.
        InvalidInputError: it has not ended.
    """
    async with transaction(engine) as connection:
        job = await find(connection, job_id)
        _check_permitted(job)
        if not job.ended:
            raise InvalidInputError(f"job {job_id} has not ended; wait for it, or cancel it")
        if job.kind == INGEST:
            await collections.check_open(connection, job.collection)
        else:
            await collections.get(connection, job.collection)
        row = (await connection.execute(_ASKED, {"id": job_id})).one()
        arguments = {name: value for name, value in row.args.items() if name != "collection"}
        return await _enqueue(connection, job.kind, job.collection, arguments, queue=row.queue_name)


async def enqueue_remove(engine: AsyncEngine, *, collection: str, sources: Sequence[str]) -> Job:
    """Ask for sources, each with all that lies below it, to be removed from a collection.

    Raises:
        InvalidInputError: no source is named.
        NotFoundError: there is no such collection.
    """
    check_arguments(sources)
    async with transaction(engine) as connection:
        await collections.get(connection, collection)
        return await _enqueue(connection, REMOVE, collection, {"arguments": list(sources)})


async def enqueue_retry(engine: AsyncEngine, *, collection: str) -> Job:
    """Ask for every source that failed to be read again.

    Raises:
        NotFoundError: there is no such collection.
    """
    async with transaction(engine) as connection:
        await collections.get(connection, collection)
        return await _enqueue(connection, RETRY, collection, {})


async def enqueue_reindex(
    engine: AsyncEngine,
    *,
    collection: str,
    embedder: str | None = None,
    store: str | None = None,
    precision: str | None = None,
    chunk_tokens: int | None = None,
    force: bool = False,
    fresh: bool = False,
    budget: float | None = None,
    queue: str = QUEUE,
) -> Job:
    """Ask for an index to be built beside the active one; what is None is as there.

    Raises:
        NotFoundError: there is no such collection.
    """
    check_queue(queue)
    given = {
        "embedder": embedder,
        "store": store,
        "precision": precision,
        "chunk_tokens": chunk_tokens,
        "budget": budget,
    }
    arguments = {name: value for name, value in given.items() if value is not None}
    async with transaction(engine) as connection:
        await collections.get(connection, collection)
        return await _enqueue(
            connection,
            REINDEX,
            collection,
            {**arguments, "force": force, "fresh": fresh},
            queue=queue,
        )


async def enqueue_check(engine: AsyncEngine, *, collection: str) -> Job:
    """Ask for the active index of a collection to be checked.

    Raises:
        NotFoundError: there is no such collection.
    """
    async with transaction(engine) as connection:
        return await enqueue_check_with(connection, collection)


async def enqueue_check_with(connection: AsyncConnection, collection: str) -> Job:
    """Ask for a check over a connection, in its transaction.

    Raises:
        NotFoundError: there is no such collection.
    """
    await collections.get(connection, collection)
    return await _enqueue(connection, CHECK, collection, {})


async def enqueue_analysis(
    engine: AsyncEngine, *, collection: str, analysis: str, options: Mapping[str, JSON]
) -> Job:
    """Ask for an index to be analysed: clusters, outliers, diversity or labels.

    Raises:
        NotFoundError: there is no such collection.
    """
    given = {name: value for name, value in options.items() if value is not None}
    async with transaction(engine) as connection:
        await collections.get(connection, collection)
        return await _enqueue(
            connection, ANALYSE, collection, {"arguments": [analysis], "options": given}
        )


async def enqueue_delete(engine: AsyncEngine, *, collection: str) -> Job:
    """Ask for a collection to be deleted, with its documents, vectors and indexes.

    Raises:
        NotFoundError: there is no such collection.
    """
    async with transaction(engine) as connection:
        await collections.get(connection, collection)
        return await _enqueue(connection, DELETE, collection, {})


async def cancel(engine: AsyncEngine, job_id: int) -> Job:
    """Take a job that waits out of the queue, or stop one that runs; what it did stays.

    Raises:
        NotFoundError: there is none.
        NotPermittedError: whoever asks may not ask for such work.
        InvalidInputError: it has ended.
    """
    async with transaction(engine) as connection:
        _check_permitted(await find(connection, job_id))
        found = await connection.scalar(_CANCEL, {"id": job_id})
        if found is None:
            raise InvalidInputError(f"job {job_id} has ended; there is nothing to cancel")
        return await find(connection, job_id)


async def cancel_waiting(
    connection: AsyncConnection, collection: str, *, besides: int | None = None
) -> int:
    """Take all jobs that wait for a collection out of the queue, one excepted; say how many."""
    rows = await connection.execute(
        _CANCEL_WAITING,
        {"locks": [of(collection) for of in _LOCKS], "besides": besides},
    )
    return len(rows.all())


def check_arguments(arguments: Sequence[str]) -> None:
    """See that workers can do what is named.

    Raises:
        InvalidInputError: nothing is named, or a path that is not whole, or no text.
    """
    if not arguments:
        raise InvalidInputError("nothing is named; name a path, a web address or a source")
    for argument in arguments:
        if "\0" in argument or any("\ud800" <= character <= "\udfff" for character in argument):
            raise InvalidInputError(f"{argument[:80]!r} has a NUL or half of a surrogate pair")
        is_address = argument.startswith(("http://", "https://"))
        if is_address and _USER.match(argument):
            # Jobs are kept and shown, and it may be a real one.
            raise InvalidInputError(
                "an address has a name or password in front of its host; leave it out"
            )
        if not is_address and not PurePosixPath(argument).is_absolute():
            raise InvalidInputError(
                f"{argument[:80]!r} is relative; a worker runs elsewhere, name the whole path"
            )


def may_change(job: Job) -> bool:
    """Say whether whoever asks may cancel such work, or ask for it again."""
    principal = acting()
    return principal is None or principal.may(_scope_for(job))


def _check_permitted(job: Job) -> None:
    """See that whoever asks may do so: who ingests must not repeat the deletion of a collection."""
    if not may_change(job):
        raise NotPermittedError(
            f"job {job.id} is of kind {job.kind}, which needs a key with scope {_scope_for(job)}"
        )


def _scope_for(job: Job) -> Scope:
    return Scope.INGEST if job.kind in _OF_DOCUMENTS else Scope.ADMIN


_OF_DOCUMENTS = frozenset({INGEST, REMOVE, RETRY})


async def _enqueue(
    connection: AsyncConnection,
    kind: str,
    collection: str,
    arguments: Mapping[str, JSON],
    *,
    queue: str = QUEUE,
) -> Job:
    values = {
        "queue": queue,
        "task": kind,
        "collection_lock": lock_of(collection),
        "lock": lock_for(kind, collection),
        "args": json.dumps({"collection": collection, **arguments}),
    }
    # One at a time, so that two who ask for the same get the same job.
    await connection.execute(_ASKING, {"lock": values["lock"]})
    same = await connection.scalar(_SAME, values)
    if same is not None:
        return await find(connection, same)
    if await connection.scalar(_DELETING, values):
        raise NotFoundError(f"collection {collection!r} is being deleted")
    deferred = await connection.scalar(_DEFER, values)
    await connection.execute(_OF_COLLECTION, {"job_id": deferred[0], "name": collection})
    await _note_cause(connection, deferred)
    return await find(connection, deferred[0])


async def _note_cause(connection: AsyncConnection, job_ids: Sequence[int]) -> None:
    """Keep what is under way now as what caused jobs, where somebody traces it."""
    cause = trace_context()
    if cause is not None:
        await connection.execute(_CAUSED, {"ids": list(job_ids), "cause": cause})


async def cause_of(connection: AsyncConnection, job_id: int) -> str | None:
    """Give the trace context of what asked for a job, where somebody traced it."""
    cause: str | None = await connection.scalar(_CAUSE, {"id": job_id})
    return cause


_LOCKS = (lock_of, builders_lock_of, checks_lock_of, analyses_lock_of)

_USER = re.compile("https?://[^/?#]*@")

_ASKING = text("SELECT pg_advisory_xact_lock(hashtextextended(:lock, 0))")

_ASKED = text("SELECT args, queue_name FROM procrastinate_jobs WHERE id = :id")

# Behind everything else: who has other work to do is no help.
_ASK_FOR_HELP = text(
    "SELECT procrastinate_defer_jobs_v1(array_agg(CAST(ROW(:queue, :part, -1, NULL, NULL, "
    "CAST(:args AS jsonb), NULL) AS procrastinate_job_to_defer_v1))) "
    "FROM generate_series(1, :helpers)"
)

_CANCEL_HELP = text(
    "SELECT procrastinate_cancel_job_v1(id, false, true) FROM procrastinate_jobs "
    "WHERE status = 'todo' AND task_name = :part AND args->>'run' = :run"
)

# A deletion that runs already is the same wish too; of others, what changed since may matter.
_SAME = text(
    "SELECT min(id) FROM procrastinate_jobs WHERE queue_name = :queue AND task_name = :task "
    "AND lock = :lock AND args = CAST(:args AS jsonb) "
    "AND (status = 'todo' OR (status = 'doing' AND task_name = 'delete'))"
)

_DELETING = text(
    "SELECT EXISTS (SELECT FROM procrastinate_jobs WHERE status IN ('todo', 'doing') "
    "AND task_name = 'delete' AND lock = :collection_lock)"
)

_DEFER = text(
    "SELECT procrastinate_defer_jobs_v1(ARRAY[CAST(ROW(:queue, :task, 0, :lock, NULL, "
    "CAST(:args AS jsonb), NULL) AS procrastinate_job_to_defer_v1)])"
)

# Of a collection that is yet to be made, it is known once the job makes it.
_OF_COLLECTION = text(
    "INSERT INTO job_collections (job_id, collection_id) "
    "SELECT :job_id, id FROM collections WHERE name = :name"
)

_CAUSED = text(
    "INSERT INTO job_causes (job_id, trace_context) SELECT unnest(CAST(:ids AS bigint[])), :cause"
)

_CAUSE = text("SELECT trace_context FROM job_causes WHERE job_id = :id")

_CANCEL = text("SELECT procrastinate_cancel_job_v1(:id, true, false)")

_CANCEL_WAITING = text(
    "SELECT procrastinate_cancel_job_v1(id, true, false) FROM procrastinate_jobs "
    "WHERE status = 'todo' AND lock = ANY(:locks) "
    "AND id IS DISTINCT FROM CAST(:besides AS bigint)"
)
