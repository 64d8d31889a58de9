"""Model versions that were only declared, and the imported vectors that are to verify them."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("model_versions", sa.Column("declared_at", sa.DateTime(timezone=True)))
    op.add_column("model_versions", sa.Column("verified_at", sa.DateTime(timezone=True)))
    op.add_column("canary_vectors", sa.Column("chunk_id", sa.Uuid()))
    op.create_foreign_key(
        "fk_canary_vectors_chunk_id",
        "canary_vectors",
        "chunks",
        ["chunk_id"],
        ["id"],
        ondelete="CASCADE",
    )
    op.create_index("ix_canary_vectors_chunk_id", "canary_vectors", ["chunk_id"])


def downgrade() -> None:
    # Without them nobody would know that they were never verified.
    op.execute("DELETE FROM canary_vectors WHERE chunk_id IS NOT NULL")
    op.drop_column("canary_vectors", "chunk_id")
    op.drop_column("model_versions", "verified_at")
    op.drop_column("model_versions", "declared_at")
