"""Planting faults in what is stored, and undoing them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID, uuid4

import numpy as np
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from search_app.catalog.chunks import indexed_text
from search_app.catalog.engine import transaction
from search_app.types import Index, Matrix

MOST_DEAD = 20
"""Rows that may be written anew before the index over them suffers."""

_HNSW = "CREATE INDEX {name} ON {table} USING hnsw ((embedding::halfvec({size})) halfvec_ip_ops)"


@dataclass(frozen=True, kw_only=True)
class Stored:
    """The passages of an index as they were written, in the order of their requests."""

    engine: AsyncEngine
    index: Index
    ids: Sequence[UUID]
    texts: Sequence[str]
    vectors: Matrix
    positions: Sequence[int]

    @property
    def table(self) -> str:
        """The table of the vectors."""
        return f"vectors.index_{self.index.id.hex}"

    async def write(self, places: Sequence[int], vectors: Matrix, *, before_hashing: bool) -> None:
        """Put vectors in the places of others.

        ``before_hashing``: they were wrong when they came, so the records agree with them;
        otherwise the store changed them afterwards.
        """
        ids = [self.ids[place] for place in places]
        exact = vectors.astype("<f4")
        async with transaction(self.engine) as connection:
            await connection.execute(
                text(
                    f"UPDATE {self.table} SET embedding = given.vector::vector FROM "
                    "unnest(CAST(:ids AS uuid[]), CAST(:vectors AS text[])) AS given (id, vector) "
                    f"WHERE chunk_id = given.id"
                ),
                {"ids": ids, "vectors": [_literal(row) for row in exact]},
            )
            if before_hashing:
                hashes = [sha256(row.tobytes()).digest() for row in exact]
                await self._rewrite(connection, "stored_hash", ids, hashes)
        await self.rebuild(len(places))

    async def rebuild(self, changed: int) -> None:
        """Build the approximate index anew where so many rows changed that dead ones fill it.

        What they cost is a fault of its own, and not the one that is planted.
        """
        if changed > MOST_DEAD:
            await self.build_index()

    async def write_texts(self, places: Sequence[int], sent: Sequence[str]) -> None:
        """Record other texts as those that were sent."""
        hashes = [sha256(one.encode()).digest() for one in sent]
        async with transaction(self.engine) as connection:
            await self._rewrite(
                connection, "sent_hash", [self.ids[place] for place in places], hashes
            )

    async def _rewrite(
        self, connection: AsyncConnection, column: str, ids: Sequence[UUID], hashes: Sequence[bytes]
    ) -> None:
        await connection.execute(
            text(
                f"UPDATE vector_records SET {column} = given.hash FROM "
                "unnest(CAST(:ids AS uuid[]), CAST(:hashes AS bytea[])) AS given (id, hash) "
                "WHERE index_id = :index_id AND chunk_id = given.id"
            ),
            {"ids": ids, "hashes": hashes, "index_id": self.index.id},
        )

    async def delete(self, places: Sequence[int]) -> None:
        """Lose vectors."""
        await self._run(
            f"DELETE FROM {self.table} WHERE chunk_id = ANY(:ids)",
            {"ids": [self.ids[place] for place in places]},
        )

    async def add_strangers(self, number: int) -> list[UUID]:
        """Leave vectors that belong to nothing; gives their ids."""
        strangers = [uuid4() for _ in range(number)]
        await self._run(
            f"INSERT INTO {self.table} SELECT given.id, kept.document_id, kept.run_id, "
            "kept.index_id, kept.model_version_id, kept.fields, kept.embedding FROM "
            f"unnest(CAST(:ids AS uuid[])) AS given (id), "
            f"(SELECT * FROM {self.table} LIMIT 1) AS kept",
            {"ids": strangers},
        )
        return strangers

    async def build_index(self, options: str = "") -> None:
        """Build the approximate index anew, with options of one's own."""
        name = f"index_{self.index.id.hex}_hnsw"
        create = _HNSW.format(name=name, table=self.table, size=self.vectors.shape[1])
        await self._run(f"DROP INDEX IF EXISTS vectors.{name}", {})
        await self._run(create + options, {})

    async def keep(self) -> None:
        """Remember what is stored, for ``restore``."""
        await self._run(f"CREATE TABLE kept_points AS TABLE {self.table}", {})
        await self._run("CREATE TABLE kept_records AS TABLE vector_records", {})

    async def restore(self) -> None:
        """Put everything back."""
        await self._run(
            f"DELETE FROM {self.table} WHERE chunk_id NOT IN (SELECT chunk_id FROM kept_points)", {}
        )
        await self._run(f"INSERT INTO {self.table} TABLE kept_points ON CONFLICT DO NOTHING", {})
        changed = await self._run(
            f"UPDATE {self.table} AS t SET embedding = k.embedding FROM kept_points k "
            "WHERE k.chunk_id = t.chunk_id AND k.embedding IS DISTINCT FROM t.embedding",
            {},
        )
        await self.rebuild(changed)
        await self._run(
            "UPDATE vector_records AS t SET stored_hash = k.stored_hash, sent_hash = k.sent_hash "
            "FROM kept_records k WHERE k.index_id = t.index_id AND k.chunk_id = t.chunk_id AND "
            "(k.stored_hash, k.sent_hash) IS DISTINCT FROM (t.stored_hash, t.sent_hash)",
            {},
        )

    async def _run(self, statement: str, given: Mapping[str, object]) -> int:
        """Give how many rows it changed."""
        async with transaction(self.engine) as connection:
            return (await connection.execute(text(statement), dict(given))).rowcount


async def read(engine: AsyncEngine, index: Index) -> Stored:
    """Read what is stored in an index."""
    statement = text(
        "SELECT r.chunk_id, c.context, c.text, r.batch_position, p.embedding::text AS vector "
        f"FROM vector_records r JOIN chunks c ON c.id = r.chunk_id "
        f"JOIN vectors.index_{index.id.hex} p ON p.chunk_id = r.chunk_id "
        "WHERE r.index_id = :index_id ORDER BY r.created_at, r.batch_position, r.chunk_id"
    )
    async with transaction(engine) as connection:
        rows = (await connection.execute(statement, {"index_id": index.id})).all()
    return Stored(
        engine=engine,
        index=index,
        ids=[row.chunk_id for row in rows],
        texts=[indexed_text(row.context, row.text) for row in rows],
        vectors=np.array([row.vector[1:-1].split(",") for row in rows], np.float32),
        positions=[row.batch_position for row in rows],
    )


def _literal(vector: Matrix) -> str:
    # Shortest digits that give the same float32 back.
    return "[" + ",".join(str(value) for value in vector) + "]"
