"""Everything that ingest writes, as comparable values: what must not depend on how it was run.

Ids of runs, times and batch positions are left out, and so are the weights of terms: they depend
on the average length that an index was begun with. All else is computed from the sources.
"""

from typing import Any

import psycopg
from psycopg.rows import dict_row
from sqlalchemy import make_url

QUERIES = {
    "sources": "SELECT id, uri, content_hash, reader, state, reason FROM sources ORDER BY id",
    "documents": """
        SELECT id, source_id, uri, title, language, media_type, fields, content_hash, state
        FROM documents ORDER BY id
    """,
    "chunks": """
        SELECT id, document_id, chunking, ordinal, text, context, text_hash, char_start, char_end,
            heading_path, page, tokens, state
        FROM chunks ORDER BY id
    """,
    "records": """
        SELECT chunk_id, sent_hash, received_hash, stored_hash, norm FROM vector_records
        ORDER BY chunk_id
    """,
    "frequencies": "SELECT term_id, passages FROM term_frequencies ORDER BY term_id",
    "lexicons": "SELECT analyzer, version, passages, complete FROM lexicons",
}


def connect(database_url: str) -> psycopg.Connection[dict[str, Any]]:
    """Open a plain connection, past every layer under test."""
    address = make_url(database_url).set(drivername="postgresql")
    return psycopg.connect(
        address.render_as_string(hide_password=False), autocommit=True, row_factory=dict_row
    )


def dump(database_url: str) -> dict[str, list[dict[str, Any]]]:
    """Read the catalog and the vectors of the one index there is."""
    with connect(database_url) as connection:
        found = {name: connection.execute(query).fetchall() for name, query in QUERIES.items()}
        tables = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'vectors' "
            "ORDER BY table_name"
        ).fetchall()
        name, terms = (table["table_name"] for table in tables)
        assert terms == f"{name}_terms"
        found["vectors"] = connection.execute(
            "SELECT chunk_id, document_id, fields, vector_send(embedding) AS bytes "
            f'FROM vectors."{name}" ORDER BY chunk_id'
        ).fetchall()
        found["terms"] = connection.execute(
            f'SELECT chunk_id, document_id, fields, terms FROM vectors."{terms}" ORDER BY chunk_id'
        ).fetchall()
    return found


def differences(
    left: dict[str, list[dict[str, Any]]], right: dict[str, list[dict[str, Any]]]
) -> list[str]:
    """Say in a few lines what two dumps do not have in common; none where they are equal."""
    told = []
    for name, rows in left.items():
        others = right[name]
        here, there = ({repr(row) for row in each} for each in (rows, others))
        told += [f"{name} only left: {row[:300]}" for row in sorted(here - there)[:5]]
        told += [f"{name} only right: {row[:300]}" for row in sorted(there - here)[:5]]
        if len(rows) != len(others):
            told.append(f"{name}: {len(rows)} rows left, {len(others)} right")
    return told
