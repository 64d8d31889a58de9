"""What monitoring asks of the catalog: the latest checks in numbers, and how the queue stands."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, kw_only=True)
class LatestCheck:
    """The newest check of the active index of a collection; None is what it could not find out.

    ``age_s`` is how long ago it began, ``drift`` and ``reproducibility`` are p and r with their
    upper bounds, ``drift_evidence`` and the other how much speaks for each after it.
    """

    collection: str
    verdict: str
    age_s: float
    seconds: float | None
    drift: float | None
    drift_high: float | None
    reproducibility: float | None
    reproducibility_high: float | None
    drift_evidence: float | None
    reproducibility_evidence: float | None
    noise_median: float | None
    noise_max: float | None
    texts_sent: float | None
    scanned: float | None


async def latest_checks(connection: AsyncConnection) -> list[LatestCheck]:
    """Give the newest check of every collection whose active index has one, by name."""
    rows = await connection.execute(_LATEST)
    return [LatestCheck(**row) for row in rows.mappings()]


async def jobs_by_state(connection: AsyncConnection, kinds: Sequence[str]) -> dict[str, int]:
    """Count the jobs of some kinds that wait, run and failed; those that ended are forgotten."""
    rows = await connection.execute(_JOBS, {"kinds": list(kinds)})
    return {row.state: row.number for row in rows}


_LATEST = text("""
    SELECT collections.name AS collection, latest.verdict,
        CAST(greatest(extract(epoch FROM now() - latest.created_at), 0) AS double precision)
            AS age_s,
        CAST(report->>'seconds' AS double precision) AS seconds,
        CAST(report->'drift'->>'estimate' AS double precision) AS drift,
        CASE WHEN sampled > 0 THEN CAST(report->'drift'->>'high' AS double precision) END
            AS drift_high,
        CAST(report->'reproducibility'->>'estimate' AS double precision) AS reproducibility,
        CASE WHEN repeated > 0
            THEN CAST(report->'reproducibility'->>'high' AS double precision) END
            AS reproducibility_high,
        CAST(report->'evidence'->>'drift' AS double precision) AS drift_evidence,
        CAST(report->'evidence'->>'reproducibility' AS double precision)
            AS reproducibility_evidence,
        noise_median, noise_max,
        CAST(report->>'texts_sent' AS double precision) AS texts_sent,
        CAST(report->'layers'->'integrity'->>'scanned' AS double precision) AS scanned
    FROM collections
    JOIN indexes ON indexes.collection_id = collections.id AND indexes.state = 'active'
    CROSS JOIN LATERAL (
        SELECT * FROM checks WHERE checks.index_id = indexes.id
        ORDER BY created_at DESC, id LIMIT 1
    ) AS latest
    WHERE collections.state = 'live'
    ORDER BY collections.name
""")

_JOBS = text("""
    SELECT CASE status WHEN 'todo' THEN 'waiting' WHEN 'doing' THEN 'running' ELSE 'failed' END
        AS state, count(*) AS number
    FROM procrastinate_jobs
    WHERE task_name = ANY(CAST(:kinds AS text[])) AND status IN ('todo', 'doing', 'failed')
    GROUP BY 1
""")
