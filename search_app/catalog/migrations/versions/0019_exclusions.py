"""Documents and passages that searches leave out, and when they last changed."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    now = sa.func.now()
    time = sa.DateTime(timezone=True)
    op.add_column("collections", sa.Column("touched_at", time, server_default=now, nullable=False))
    op.create_table(
        "exclusions",
        sa.Column("document_id", sa.Uuid(), nullable=False),
        sa.Column("text_hash", sa.LargeBinary(), nullable=False),
        sa.Column("collection_id", sa.Uuid(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", time, server_default=now, nullable=False),
        *(
            sa.ForeignKeyConstraint(
                [f"{name}_id"],
                [f"{name}s.id"],
                name=f"fk_exclusions_{name}_id",
                ondelete="CASCADE",
            )
            for name in ("document", "collection")
        ),
        sa.PrimaryKeyConstraint("document_id", "text_hash", name="pk_exclusions"),
    )
    op.create_index("ix_exclusions_collection_id", "exclusions", ["collection_id"])


def downgrade() -> None:
    op.drop_table("exclusions")
    op.drop_column("collections", "touched_at")
