"""What was found out about whole indexes, and labels that are suggested for documents."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    now = sa.func.now()
    time = sa.DateTime(timezone=True)
    op.create_table(
        "analyses",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("collection_id", sa.Uuid(), nullable=False),
        sa.Column("index_id", sa.Uuid(), nullable=False),
        sa.Column("model_version_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("parameters", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("numbers", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("job_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", time, server_default=now, nullable=False),
        *(
            sa.ForeignKeyConstraint(
                [f"{name}_id"], [f"{table}.id"], name=f"fk_analyses_{name}_id", ondelete="CASCADE"
            )
            for name, table in (
                ("collection", "collections"),
                ("index", "indexes"),
                ("model_version", "model_versions"),
            )
        ),
        sa.PrimaryKeyConstraint("id", name="pk_analyses"),
    )
    for columns in (("collection_id", "created_at"), ("index_id",), ("model_version_id",)):
        op.create_index(f"ix_analyses_{'_'.join(columns)}", "analyses", list(columns))
    op.create_table(
        "analysis_members",
        sa.Column("analysis_id", sa.Uuid(), nullable=False),
        sa.Column("chunk_id", sa.Uuid(), nullable=False),
        sa.Column("cluster", sa.Integer(), nullable=False),
        sa.Column("score", sa.REAL(), nullable=False),
        sa.ForeignKeyConstraint(
            ["analysis_id"],
            ["analyses.id"],
            name="fk_analysis_members_analysis_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["chunk_id"], ["chunks.id"], name="fk_analysis_members_chunk_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("analysis_id", "chunk_id", name="pk_analysis_members"),
    )
    op.create_index("ix_analysis_members_chunk_id", "analysis_members", ["chunk_id"])
    op.create_table(
        "label_suggestions",
        sa.Column("document_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("probability", sa.Double(), nullable=True),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("analysis_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", time, server_default=now, nullable=False),
        sa.ForeignKeyConstraint(
            ["document_id"],
            ["documents.id"],
            name="fk_label_suggestions_document_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["analysis_id"],
            ["analyses.id"],
            name="fk_label_suggestions_analysis_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("document_id", "name", name="pk_label_suggestions"),
    )
    op.create_index("ix_label_suggestions_analysis_id", "label_suggestions", ["analysis_id"])


def downgrade() -> None:
    for table in ("label_suggestions", "analysis_members", "analyses"):
        op.drop_table(table)
