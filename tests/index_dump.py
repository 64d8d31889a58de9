"""Everything that one index holds, as comparable values, whichever index of the catalog it is.

Ids of indexes and runs, times and batch positions are left out, and so are the weights of terms,
as in catalog_dump.
"""

from typing import Any
from uuid import UUID

from tests.catalog_dump import connect

_QUERIES = {
    "records": """
        SELECT chunk_id, sent_hash, received_hash, stored_hash, norm FROM vector_records
        WHERE index_id = %(id)s ORDER BY chunk_id
    """,
    "frequencies": """
        SELECT term_id, passages FROM term_frequencies WHERE index_id = %(id)s ORDER BY term_id
    """,
    "lexicons": """
        SELECT analyzer, version, passages, complete FROM lexicons WHERE index_id = %(id)s
    """,
    "shown": """
        SELECT chunks.id, chunks.text, chunks.context, chunks.ordinal, chunks.char_start,
            chunks.char_end, chunks.heading_path, chunks.page, chunks.tokens, chunks.state
        FROM chunks JOIN documents ON documents.id = chunks.document_id
        JOIN indexes ON indexes.collection_id = documents.collection_id
        WHERE indexes.id = %(id)s AND chunks.chunking = format(
            '%%s/%%s/%%s', indexes.chunking->>'tokenizer', indexes.chunking->>'max_tokens',
            indexes.chunking->>'version')
        ORDER BY chunks.id
    """,
}


def dump_index(database_url: str, index_id: UUID) -> dict[str, list[dict[str, Any]]]:
    """Read what the catalog and pgvector hold of an index."""
    with connect(database_url) as connection:
        found = {
            name: connection.execute(query, {"id": index_id}).fetchall()
            for name, query in _QUERIES.items()
        }
        table = f"index_{index_id.hex}"
        found["vectors"] = connection.execute(
            "SELECT chunk_id, document_id, fields, vector_send(embedding) AS bytes "
            f'FROM vectors."{table}" ORDER BY chunk_id'
        ).fetchall()
        found["terms"] = connection.execute(
            f'SELECT chunk_id, document_id, fields, terms FROM vectors."{table}_terms" '
            "ORDER BY chunk_id"
        ).fetchall()
        strays = connection.execute(
            f'SELECT 1 AS stray FROM vectors."{table}" WHERE index_id <> %(id)s',
            {"id": index_id},
        ).fetchall()
    assert not strays
    return found
