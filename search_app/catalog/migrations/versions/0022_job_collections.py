"""Which collection a job is of, by id: a name may be given again. And what a kept answer quotes."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "job_collections",
        sa.Column("job_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("collection_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["collection_id"],
            ["collections.id"],
            name="fk_job_collections_collection_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("job_id", name="pk_job_collections"),
    )
    op.create_index("ix_job_collections_collection_id", "job_collections", ["collection_id"])
    # What was asked for before the collection of that name was made is of another one, but for the
    # job that made it, which its runs tell.
    op.execute(
        """
        INSERT INTO job_collections (job_id, collection_id)
        SELECT jobs.id, collections.id FROM procrastinate_jobs AS jobs
        JOIN collections ON collections.name = jobs.args->>'collection'
        WHERE EXISTS (
            SELECT FROM procrastinate_events AS events WHERE events.job_id = jobs.id
                AND events.type = 'deferred' AND events.at >= collections.created_at
        ) OR EXISTS (
            SELECT FROM runs WHERE runs.job_id = jobs.id AND runs.collection_id = collections.id
        )
        """
    )
    op.add_column(
        "answers",
        sa.Column(
            "document_ids",
            sa.ARRAY(sa.Uuid()),
            nullable=False,
            server_default=sa.text("'{}'"),
        ),
    )
    op.execute(
        """
        UPDATE answers SET document_ids = ARRAY(
            SELECT DISTINCT CAST(given->'document'->>'id' AS uuid)
            FROM jsonb_array_elements(passages) AS given
        )
        """
    )
    op.create_index("ix_answers_document_ids", "answers", ["document_ids"], postgresql_using="gin")


def downgrade() -> None:
    op.drop_column("answers", "document_ids")
    op.drop_table("job_collections")
