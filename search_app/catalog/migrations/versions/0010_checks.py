"""Reference queries of indexes, and the checks that were made with them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "reference_queries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("index_id", sa.Uuid(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("sends", sa.Integer(), nullable=False),
        sa.Column("vectors", sa.LargeBinary(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["index_id"], ["indexes.id"], name="fk_reference_queries_index_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_reference_queries"),
    )
    op.create_index("ix_reference_queries_index_id", "reference_queries", ["index_id"])
    op.create_table(
        "checks",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("collection_id", sa.Uuid(), nullable=False),
        sa.Column("index_id", sa.Uuid(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("sampled", sa.Integer(), nullable=False),
        sa.Column("changed", sa.Integer(), nullable=False),
        sa.Column("repeated", sa.Integer(), nullable=False),
        sa.Column("unsteady", sa.Integer(), nullable=False),
        sa.Column("noise_median", sa.Double(), nullable=True),
        sa.Column("noise_max", sa.Double(), nullable=True),
        sa.Column("drift", postgresql.ARRAY(sa.Double()), nullable=False),
        sa.Column("reproducibility", postgresql.ARRAY(sa.Double()), nullable=False),
        sa.Column("report", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False
        ),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["collection_id"],
            ["collections.id"],
            name="fk_checks_collection_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["index_id"], ["indexes.id"], name="fk_checks_index_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_checks"),
    )
    op.create_index("ix_checks_index_id_created_at", "checks", ["index_id", "created_at"])
    op.create_index("ix_checks_collection_id_created_at", "checks", ["collection_id", "created_at"])
    op.create_table(
        "check_sends",
        sa.Column("check_id", sa.Uuid(), nullable=False),
        sa.Column("reference_id", sa.Uuid(), nullable=False),
        sa.Column("sends", sa.Integer(), nullable=False),
        sa.Column("vectors", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["check_id"], ["checks.id"], name="fk_check_sends_check_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["reference_id"],
            ["reference_queries.id"],
            name="fk_check_sends_reference_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("check_id", "reference_id", name="pk_check_sends"),
    )
    op.create_index("ix_check_sends_reference_id", "check_sends", ["reference_id"])


def downgrade() -> None:
    op.drop_table("check_sends")
    op.drop_table("checks")
    op.drop_table("reference_queries")
