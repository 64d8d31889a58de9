"""What users say of the hits of their searches."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "feedback",
        sa.Column("search_id", sa.Uuid(), nullable=False),
        sa.Column("chunk_id", sa.Uuid(), nullable=False),
        sa.Column("document_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("verdict", sa.SmallInteger(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False
        ),
        sa.CheckConstraint("verdict IN (-1, 1)", name="ck_feedback_verdict"),
        sa.ForeignKeyConstraint(
            ["search_id"], ["query_log.id"], name="fk_feedback_search_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("search_id", "chunk_id", name="pk_feedback"),
    )
    op.create_index("ix_feedback_chunk_id", "feedback", ["chunk_id"])


def downgrade() -> None:
    op.drop_table("feedback")
