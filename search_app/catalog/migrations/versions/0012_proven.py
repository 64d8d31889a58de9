"""Query vectors that are kept before their model has proved itself again."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Until now only vectors of between two proofs were kept.
    op.add_column(
        "query_vectors",
        sa.Column("proven", sa.Boolean(), nullable=False, server_default=sa.true()),
    )
    op.alter_column("query_vectors", "proven", server_default=None)


def downgrade() -> None:
    op.execute("DELETE FROM query_vectors WHERE NOT proven")
    op.drop_column("query_vectors", "proven")
