"""What the workers of a run do now, the wish that it stop, and files for large genomes."""

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("runs", sa.Column("stop_requested", sa.Double))
    op.add_column("generations", sa.Column("genomes", sa.Text))
    op.create_table(
        "workers",
        sa.Column("run_id", sa.Integer, sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("worker", sa.Text, primary_key=True),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("first", sa.Integer, nullable=False),
        sa.Column("last", sa.Integer, nullable=False),
        sa.Column("since", sa.Double, nullable=False),
    )
    identity = op.create_table("identity", sa.Column("id", sa.String(8), primary_key=True))
    op.bulk_insert(identity, [{"id": uuid.uuid4().hex[:8]}])
