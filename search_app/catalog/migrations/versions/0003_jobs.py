"""Queued work: the queue's tables, which run did which job; collections on their way out."""

from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

QUEUE = Path(__file__).with_name("0003_procrastinate.sql")

_DROP_QUEUE = """
DROP FUNCTION procrastinate_fetch_job_v2;
DROP TABLE procrastinate_events, procrastinate_periodic_defers, procrastinate_jobs,
    procrastinate_workers;
DROP FUNCTION procrastinate_defer_jobs_v1, procrastinate_defer_periodic_job_v2,
    procrastinate_finish_job_v1, procrastinate_cancel_job_v1,
    procrastinate_retry_job_v1, procrastinate_retry_job_v2,
    procrastinate_notify_queue_job_inserted_v1, procrastinate_notify_queue_abort_job_v1,
    procrastinate_trigger_function_status_events_insert_v1,
    procrastinate_trigger_function_status_events_update_v1,
    procrastinate_trigger_function_scheduled_events_v1,
    procrastinate_trigger_abort_requested_events_procedure_v1,
    procrastinate_unlink_periodic_defers_v1, procrastinate_register_worker_v1,
    procrastinate_unregister_worker_v1, procrastinate_update_heartbeat_v1,
    procrastinate_prune_stalled_workers_v1;
DROP TYPE procrastinate_job_to_defer_v1, procrastinate_job_event_type, procrastinate_job_status;
"""


def _execute(script: str) -> None:
    """Run statements as they are: to SQLAlchemy a colon and a per cent sign mean something."""
    driver = op.get_bind().connection.driver_connection
    if driver is None:
        raise RuntimeError("the connection is closed")
    driver.execute(script)


def upgrade() -> None:
    _execute(QUEUE.read_text(encoding="utf-8"))
    op.create_table(
        "job_failures",
        sa.Column("job_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("job_id", name="pk_job_failures"),
    )
    op.add_column("runs", sa.Column("job_id", sa.BigInteger(), nullable=True))
    op.add_column("runs", sa.Column("progress", postgresql.JSONB(), nullable=True))
    op.create_index(
        "ix_runs_job_id",
        "runs",
        ["job_id"],
        postgresql_where=sa.text("job_id IS NOT NULL"),
    )
    op.add_column(
        "collections",
        sa.Column("state", sa.Text(), server_default=sa.text("'live'"), nullable=False),
    )
    # Vectors that were copied into other collections name the run that embedded them, so runs
    # outlive their collection.
    op.alter_column("runs", "collection_id", nullable=True)
    op.drop_constraint("fk_runs_collection_id", "runs", type_="foreignkey")
    op.create_foreign_key(
        "fk_runs_collection_id",
        "runs",
        "collections",
        ["collection_id"],
        ["id"],
        ondelete="SET NULL",
    )


def downgrade() -> None:
    op.drop_constraint("fk_runs_collection_id", "runs", type_="foreignkey")
    op.execute(
        "DELETE FROM runs WHERE collection_id IS NULL AND NOT EXISTS (SELECT FROM vector_records "
        "WHERE runs.id IN (vector_records.run_id, vector_records.copied_by_run_id))"
    )
    # What vectors of other collections still name goes to any of those that name it.
    op.execute(
        "UPDATE runs SET collection_id = indexes.collection_id FROM vector_records "
        "JOIN indexes ON indexes.id = vector_records.index_id WHERE runs.collection_id IS NULL "
        "AND runs.id IN (vector_records.run_id, vector_records.copied_by_run_id)"
    )
    op.alter_column("runs", "collection_id", nullable=False)
    op.create_foreign_key(
        "fk_runs_collection_id",
        "runs",
        "collections",
        ["collection_id"],
        ["id"],
        ondelete="CASCADE",
    )
    op.drop_column("collections", "state")
    op.drop_index("ix_runs_job_id", "runs")
    op.drop_column("runs", "progress")
    op.drop_column("runs", "job_id")
    op.drop_table("job_failures")
    _execute(_DROP_QUEUE)
