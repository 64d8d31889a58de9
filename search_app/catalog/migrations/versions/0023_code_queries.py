"""Which queries look for source code, and what a passage alone can be filtered by."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

_ASKED = ("query_log", "reference_queries")


def upgrade() -> None:
    for table in _ASKED:
        kind = sa.Column("kind", sa.Text(), nullable=False, server_default=sa.text("'query'"))
        op.add_column(table, kind)
    op.add_column(
        "chunks", sa.Column("fields", postgresql.JSONB(astext_type=sa.Text()), nullable=True)
    )


def downgrade() -> None:
    op.drop_column("chunks", "fields")
    for table in _ASKED:
        op.drop_column(table, "kind")
