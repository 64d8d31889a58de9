"""What documents were cut by, so that they can be cut anew without reading them again."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("documents", sa.Column("layout", postgresql.JSONB(), nullable=True))


def downgrade() -> None:
    op.drop_column("documents", "layout")
