"""What caused a job, as a trace context, so that its trace can link to it."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "job_causes",
        sa.Column("job_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("trace_context", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", name="pk_job_causes"),
    )


def downgrade() -> None:
    op.drop_table("job_causes")
