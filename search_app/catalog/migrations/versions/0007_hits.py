"""Of which documents the hits of a search were, and with what vector it was asked."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "query_log",
        sa.Column(
            "document_ids",
            postgresql.ARRAY(sa.Uuid()),
            server_default=sa.text("'{}'"),
            nullable=False,
        ),
    )
    op.add_column("query_log", sa.Column("vector_hash", sa.LargeBinary(), nullable=True))
    op.create_index("ix_query_log_query_hash", "query_log", ["query_hash"])


def downgrade() -> None:
    op.drop_index("ix_query_log_query_hash", "query_log")
    op.drop_column("query_log", "vector_hash")
    op.drop_column("query_log", "document_ids")
