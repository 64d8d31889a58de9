"""Keyword search: how an index weights terms, and how many of its passages have each."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "lexicons",
        sa.Column("index_id", sa.Uuid(), nullable=False),
        sa.Column("analyzer", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("k1", sa.Double(), nullable=False),
        sa.Column("b", sa.Double(), nullable=False),
        sa.Column("average_length", sa.Double(), nullable=False),
        sa.Column("passages", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["index_id"], ["indexes.id"], name="fk_lexicons_index_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("index_id", name="pk_lexicons"),
    )
    op.create_table(
        "term_frequencies",
        sa.Column("index_id", sa.Uuid(), nullable=False),
        sa.Column("term_id", sa.Integer(), nullable=False),
        sa.Column("passages", sa.Integer(), nullable=False),
        sa.Column("word", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["index_id"],
            ["lexicons.index_id"],
            name="fk_term_frequencies_index_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("index_id", "term_id", name="pk_term_frequencies"),
    )
    # Most rows change again and again; room in the page keeps the index out of it.
    op.execute("ALTER TABLE term_frequencies SET (fillfactor = 80)")
    op.add_column(
        "query_log",
        sa.Column("mode", sa.Text(), server_default=sa.text("'semantic'"), nullable=False),
    )


def downgrade() -> None:
    op.drop_column("query_log", "mode")
    op.drop_table("term_frequencies")
    op.drop_table("lexicons")
