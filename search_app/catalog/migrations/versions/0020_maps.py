"""Where passages lie on maps."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "map_points",
        sa.Column("analysis_id", sa.Uuid(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("chunk_id", sa.Uuid(), nullable=False),
        sa.Column("x", sa.REAL(), nullable=False),
        sa.Column("y", sa.REAL(), nullable=False),
        sa.ForeignKeyConstraint(
            ["analysis_id"],
            ["analyses.id"],
            name="fk_map_points_analysis_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["chunk_id"], ["chunks.id"], name="fk_map_points_chunk_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("analysis_id", "place", name="pk_map_points"),
    )
    op.create_index("ix_map_points_chunk_id", "map_points", ["chunk_id"])


def downgrade() -> None:
    op.drop_table("map_points")
