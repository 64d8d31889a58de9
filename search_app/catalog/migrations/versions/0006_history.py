"""What became of indexes and documents, so that it can be told later; parts of runs."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "index_events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("index_id", sa.Uuid(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["index_id"], ["indexes.id"], name="fk_index_events_index_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_index_events"),
    )
    op.create_index("ix_index_events_index_id", "index_events", ["index_id"])
    # What was before is told as far as the indexes themselves tell it.
    op.execute("""
        INSERT INTO index_events (index_id, event, created_at)
        SELECT id, 'created', created_at FROM indexes
        UNION ALL
        SELECT id, 'activated', activated_at FROM indexes WHERE activated_at IS NOT NULL
        ORDER BY 3
    """)
    op.create_table(
        "document_events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("collection_id", sa.Uuid(), nullable=False),
        sa.Column("document_id", sa.Uuid(), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("chunks", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["collection_id"],
            ["collections.id"],
            name="fk_document_events_collection_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name="fk_document_events_run_id", ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_document_events"),
    )
    op.create_index("ix_document_events_document_id", "document_events", ["document_id"])
    op.create_index("ix_document_events_run_id", "document_events", ["run_id"])
    op.create_index("ix_document_events_collection_id", "document_events", ["collection_id"])
    op.add_column("runs", sa.Column("part_of", sa.Uuid(), nullable=True))
    op.create_foreign_key(
        "fk_runs_part_of", "runs", "runs", ["part_of"], ["id"], ondelete="CASCADE"
    )
    op.create_index(
        "ix_runs_part_of", "runs", ["part_of"], postgresql_where=sa.text("part_of IS NOT NULL")
    )


def downgrade() -> None:
    op.drop_index("ix_runs_part_of", "runs")
    op.drop_constraint("fk_runs_part_of", "runs")
    op.drop_column("runs", "part_of")
    op.drop_table("document_events")
    op.drop_table("index_events")
