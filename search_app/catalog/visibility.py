"""The one door to what belongs to collections: no statement reads rows that may not be seen.

Whoever is limited to some collections (``access.principal``) reads through it without knowing: in
front of each of their statements, every table that it names is redefined as the part that they may
see. PostgreSQL looks up the name of a table among a statement's WITH queries first, so nothing has
to be written differently, SQL written by hand included, and nothing can be forgotten. What is
looked up in a vector store is found by the id of its index, which comes through here as well.

What a statement writes to, or locks, cannot be redefined: it is read first by the functions that
do so, or the statement asks of its collection as well, which comes through here.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from uuid import UUID

from search_app.access.principal import seen_collections
from search_app.catalog.tables import metadata
from search_app.errors import CatalogError

_OWN = "collection_id = ANY({ids})"


def _through(column: str, table: str, key: str = "id", *, own: str = _OWN) -> str:
    return " ".join((column, "IN (SELECT", key, f"FROM {{schema}}.{table} WHERE {own})"))


_OF_INDEX = _through("index_id", "indexes")
_OF_RUN = _through("run_id", "runs")
_OF_CHECK = _through("check_id", "checks")
_OF_MODEL = _through("model_version_id", "indexes", "model_version_id")
_OWN_JOB = _through("id", "job_collections", "job_id")
_OF_OWN_JOB = _through("job_id", "job_collections", "job_id")

NONE = "false"

SEEN: Mapping[str, str] = {
    "collections": "id = ANY({ids})",
    "documents": _OWN,
    "document_events": _OWN,
    "sources": _OWN,
    "schedules": _OWN,
    "indexes": _OWN,
    "runs": _OWN,
    "query_log": _OWN,
    "answers": _OWN,
    "analyses": _OWN,
    "analysis_members": _through("analysis_id", "analyses"),
    "map_points": _through("analysis_id", "analyses"),
    "label_suggestions": _through("document_id", "documents"),
    "exclusions": _OWN,
    "checks": _OWN,
    "alerts": _OWN,
    "alert_deliveries": _through("alert_id", "alerts"),
    "chunks": _through("document_id", "documents"),
    "index_events": _OF_INDEX,
    "vector_records": _OF_INDEX,
    "lexicons": _OF_INDEX,
    "term_frequencies": _OF_INDEX,
    "reference_queries": _OF_INDEX,
    "run_errors": _OF_RUN,
    "run_parts": _OF_RUN,
    "check_sends": _OF_CHECK,
    "check_jobs": _OF_CHECK,
    "feedback": _through("search_id", "query_log"),
    "model_versions": _through("id", "indexes", "model_version_id"),
    "model_aliases": _OF_MODEL,
    "canary_vectors": _OF_MODEL,
    # By a run of another collection, a proof would tell when that one was worked on.
    "identity_proofs": f"{_OF_MODEL} AND (run_id IS NULL OR {_OF_RUN})",
    "procrastinate_jobs": _OWN_JOB,
    "procrastinate_events": _OF_OWN_JOB,
    "job_failures": _OF_OWN_JOB,
    "job_causes": _OF_OWN_JOB,
    "job_collections": _OWN,
    # Kept for workers, who see everything.
    "embedding_cache": NONE,
    "api_keys": NONE,
    "key_collections": NONE,
    "web_sessions": NONE,
    "audit_events": NONE,
}
"""What of each table may be seen by somebody who may see the collections ``ids`` only."""

SHARED = frozenset(
    {
        # By the hash of a text and the id of a model version, which are both looked up first.
        "query_vectors",
        # When workers check, and who is at work.
        "check_nights",
        "procrastinate_workers",
        "procrastinate_periodic_defers",
    }
)
"""Tables that say nothing of any collection."""

# Of a table that nobody has thought about here, nothing is seen.
_GUARDED = (set(metadata.tables) | set(SEEN)) - SHARED
_NAMES = "|".join(sorted(_GUARDED))
_TABLE = re.compile(rf"\b({_NAMES})\b", re.IGNORECASE)
_COMMENT = re.compile(r"--[^\n]*")
_READS = re.compile(r"\s*(?:\(\s*)*(?:SELECT|VALUES|INSERT|UPDATE|DELETE|WITH)\b", re.IGNORECASE)
_WITH = re.compile(r"\s*WITH\s+(RECURSIVE\s+)?", re.IGNORECASE)
_WRITTEN = re.compile(
    r"\b(?:INSERT\s+INTO|UPDATE|DELETE\s+FROM)\s+(?:ONLY\s+)?\"?(\w+)", re.IGNORECASE
)
_LOCKS = re.compile(
    r"\bFOR\s+(?:NO\s+KEY\s+|KEY\s+)?(?:UPDATE|SHARE)\b"
    r"(?:\s+OF\s+([\w, ]+?)(?=\s+SKIP\b|\s+NOWAIT\b|\s*$))?",
    re.IGNORECASE,
)


def narrow(
    connection: Any,
    _cursor: object,
    statement: str,
    parameters: Any,
    _context: object,
    _many: bool,  # noqa: FBT001 - SQLAlchemy's shape of a listener
) -> tuple[str, Any]:
    """Redefine the tables of a statement for whoever asks; a listener of the engine.

    Raises:
        CatalogError: it is of a kind that cannot be narrowed.
    """
    ids = seen_collections()
    if ids is None:
        return statement, parameters
    return narrowed(statement, ids, connection.dialect.default_schema_name), parameters


def narrowed(statement: str, ids: frozenset[UUID], schema: str) -> str:
    """Give a statement that reads nothing but what belongs to the collections with these ids.

    Raises:
        CatalogError: it is of a kind that cannot be narrowed.
    """
    parts = _parts(statement, schema)
    if parts is None:
        return statement
    front, back = parts
    written = ",".join(sorted(str(each) for each in ids))
    return front.replace(_IDS, f"'{{{written}}}'::uuid[]") + back


_IDS = "\0ids\0"


@lru_cache(maxsize=1024)
def _parts(statement: str, schema: str) -> tuple[str, str] | None:
    """Split a statement into what changes with whoever asks, and the rest; None: nothing does."""
    named = dict.fromkeys(name.lower() for name in _TABLE.findall(statement))
    if not named:
        return None
    if _READS.match(statement) is None:
        raise CatalogError(
            f"a statement that begins with {statement.split(None, 1)[0]!r} cannot be limited to "
            "some collections"
        )
    if re.search(rf'\b{re.escape(schema)}"?\s*\.\s*"?(?:{_NAMES})\b', statement, re.IGNORECASE):
        raise CatalogError("a statement that names the schema of a table goes past the door")
    kept = set(_WRITTEN.findall(_COMMENT.sub("", statement))) | _locked(statement)
    quoted = '"' + schema.replace('"', '""') + '"'
    redefined = [_redefined(table, quoted) for table in named if table not in kept]
    if not redefined:
        return None
    begun = _WITH.match(statement)
    if begun is None:
        return f"WITH {', '.join(redefined)} ", statement
    recursive = "RECURSIVE " if begun[1] else ""
    return f"WITH {recursive}{', '.join(redefined)}, ", statement[begun.end() :]


def _redefined(table: str, schema: str) -> str:
    condition = SEEN.get(table, NONE).format(ids=_IDS, schema=schema)
    # Not materialized, so that the planner sees through it and uses the indexes of the table.
    begun = f"{table} AS NOT MATERIALIZED (SELECT *"
    return f"{begun} FROM {schema}.{table} WHERE {condition})"


def _locked(statement: str) -> set[str]:
    """Name the tables whose rows are locked, which a redefinition would silently undo.

    Raises:
        CatalogError: they are not named.
    """
    names: set[str] = set()
    for found in _LOCKS.finditer(statement):
        if found[1] is None:
            raise CatalogError("a statement that locks rows must name their table to be limited")
        names |= {name.strip() for name in found[1].split(",")}
    return names
