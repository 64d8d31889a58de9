"""Vectors of texts that are kept beyond the indexes they were made for; texts in pieces."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "embedding_cache",
        sa.Column("model_version_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("sent_hash", sa.LargeBinary(), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("received_hash", sa.LargeBinary(), nullable=False),
        sa.Column("stored_hash", sa.LargeBinary(), nullable=False),
        sa.Column("norm", sa.Double(), nullable=False),
        sa.Column("batch_size", sa.Integer(), nullable=False),
        sa.Column("batch_position", sa.Integer(), nullable=False),
        sa.Column("pieces", sa.Integer(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["model_version_id"],
            ["model_versions.id"],
            name="fk_embedding_cache_model_version_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name="fk_embedding_cache_run_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("model_version_id", "kind", "sent_hash", name="pk_embedding_cache"),
    )
    op.create_index(
        "ix_embedding_cache_created_at",
        "embedding_cache",
        ["created_at", "model_version_id", "kind"],
    )
    op.create_index("ix_embedding_cache_run_id", "embedding_cache", ["run_id"])
    op.add_column(
        "vector_records",
        sa.Column("pieces", sa.Integer(), nullable=False, server_default=sa.text("1")),
    )


def downgrade() -> None:
    op.drop_column("vector_records", "pieces")
    op.drop_table("embedding_cache")
