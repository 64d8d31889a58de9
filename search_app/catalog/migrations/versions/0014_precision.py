"""What numbers each index searches vectors by."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Until now pgvector's graphs held float16, and Qdrant's float32.
    op.add_column(
        "indexes", sa.Column("precision", sa.Text(), server_default="float16", nullable=False)
    )
    op.execute("UPDATE indexes SET precision = 'float32' WHERE store <> 'pgvector'")
    op.alter_column("indexes", "precision", server_default=None)


def downgrade() -> None:
    op.drop_column("indexes", "precision")
