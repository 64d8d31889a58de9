"""What a search box may offer in one collection: its titles, its headings, what was asked of it."""

from collections import Counter
from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.phrases import LONGEST_PHRASE, Phrase, evened
from search_app.types import Collection

MOST_PHRASES = 100_000
"""Most titles and most headings that are offered: the shortest titles, the commonest headings."""

LATEST_SEARCHES = 50_000
"""Searches that past queries are taken from."""

# Sections that share a passage are not in its path, but in its text: Markdown's headings from the
# second level on, without their marks. With a single # begin comments, too.
_WRITTEN = r"""
    SELECT btrim(translate(regexp_replace(
        found[1], '([ \t]+#+)?[ \t\r]*$|[ \t]*\{[ \t]*#[0-9A-Za-z_-]+[ \t]*\}', '', 'g'), '`*', ''))
    FROM regexp_matches(chunks.text, '^#{2,6}[ \t]+([^ \t\n].*)$', 'gn') AS found
    WHERE found[1] NOT LIKE '%](%'
"""
_TITLES = text("""
    SELECT title, CAST(min(CAST(id AS text)) AS uuid) AS bearer FROM documents
    WHERE collection_id = :collection_id AND state = 'indexed' AND length(title) <= :longest
    GROUP BY title ORDER BY length(title), title LIMIT :most
""")
# Whole paths first: there are far fewer of them than passages.
_HEADINGS = text(
    """
    WITH paths AS (
        SELECT chunks.heading_path, count(*) AS passages, min(CAST(chunks.id AS text)) AS bearer
        FROM chunks JOIN documents ON documents.id = chunks.document_id
        WHERE documents.collection_id = :collection_id AND documents.state = 'indexed'
            AND chunks.state = 'live'
        GROUP BY chunks.heading_path
    ), found AS (
        SELECT heading, passages, bearer
        FROM paths CROSS JOIN jsonb_array_elements_text(heading_path) AS heading
        UNION ALL
        SELECT heading, 1, CAST(chunks.id AS text)
        FROM chunks JOIN documents ON documents.id = chunks.document_id
        CROSS JOIN LATERAL (:written) AS written (heading)
        WHERE documents.collection_id = :collection_id AND documents.state = 'indexed'
            AND chunks.state = 'live' AND chunks.text LIKE '%##%'
    )
    SELECT heading, CAST(min(bearer) AS uuid) AS bearer FROM found
    WHERE length(heading) BETWEEN 1 AND :longest
    GROUP BY heading ORDER BY sum(passages) DESC, heading LIMIT :most
""".replace(":written", _WRITTEN)
)
# Leafing further is not asking again, and what an evaluation asks nobody has.
_PAST = text("""
    SELECT query, count(*) AS times FROM (
        SELECT query FROM query_log
        WHERE collection_id = :collection_id AND query IS NOT NULL AND length(query) <= :longest
            AND cardinality(hit_ids) > 0 AND first_rank = 1 AND client <> 'eval'
        ORDER BY created_at DESC LIMIT :most
    ) AS latest
    GROUP BY query ORDER BY times DESC, query
""")
_TITLED = text("""
    SELECT id, title FROM documents
    WHERE id = ANY(CAST(:ids AS uuid[])) AND collection_id = :collection_id AND state = 'indexed'
""")
_HEADED = text(
    """
    SELECT chunks.id, heading
    FROM chunks JOIN documents ON documents.id = chunks.document_id
    CROSS JOIN LATERAL (
        SELECT jsonb_array_elements_text(heading_path) UNION ALL (:written)
    ) AS borne (heading)
    WHERE chunks.id = ANY(CAST(:ids AS uuid[])) AND chunks.state = 'live'
        AND documents.collection_id = :collection_id AND documents.state = 'indexed'
""".replace(":written", _WRITTEN)
)


async def titles(connection: AsyncConnection, collection: Collection) -> list[Phrase]:
    """List the titles of documents that can be found, shortest first."""
    rows = await connection.execute(_TITLES, _of(collection, MOST_PHRASES))
    return [Phrase(text=row.title, kind="title", bearer=row.bearer) for row in rows]


async def headings(connection: AsyncConnection, collection: Collection) -> list[Phrase]:
    """List the headings of passages that can be found, those of most passages first."""
    rows = await connection.execute(_HEADINGS, _of(collection, MOST_PHRASES))
    return [Phrase(text=row.heading, kind="heading", bearer=row.bearer) for row in rows]


async def past_queries(connection: AsyncConnection, collection: Collection) -> list[Phrase]:
    """List what was asked lately and had hits, most often asked first.

    Queries that are evened alike count together, written as they are most often.
    """
    rows = await connection.execute(_PAST, _of(collection, LATEST_SEARCHES))
    times: Counter[str] = Counter()
    written: dict[str, str] = {}
    for row in rows:
        key = evened(row.query).rstrip()
        times[key] += row.times
        written.setdefault(key, row.query)
    return [Phrase(text=written[key], kind="query") for key, _ in times.most_common()]


async def still_there(
    connection: AsyncConnection, collection: Collection, phrases: Sequence[Phrase]
) -> list[Phrase]:
    """Leave out titles and headings whose bearer is gone, or has another one by now."""
    titled = await connection.execute(_TITLED, _bearers(collection, phrases, "title"))
    headed = await connection.execute(_HEADED, _bearers(collection, phrases, "heading"))
    borne = {(row.id, row.title) for row in titled}
    borne |= {(row.id, row.heading) for row in headed}
    return [each for each in phrases if each.kind == "query" or (each.bearer, each.text) in borne]


def _of(collection: Collection, most: int) -> dict[str, object]:
    return {"collection_id": collection.id, "longest": LONGEST_PHRASE, "most": most}


def _bearers(collection: Collection, phrases: Sequence[Phrase], kind: str) -> dict[str, object]:
    ids = [phrase.bearer for phrase in phrases if phrase.kind == kind]
    return {"collection_id": collection.id, "ids": ids}
