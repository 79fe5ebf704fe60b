"""The first tables: runs with their lease, generations, individuals, optimizer states."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(100), nullable=False, unique=True),
        sa.Column("job", sa.Text, nullable=False),
        sa.Column("manifest", sa.Text, nullable=False),
        sa.Column("space", sa.Text, nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("evaluations", sa.Integer, nullable=False),
        sa.Column("failed", sa.Integer, nullable=False),
        sa.Column("best", sa.Double),
        sa.Column("started", sa.Double, nullable=False),
        sa.Column("finished", sa.Double),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("owner", sa.String(32)),
        sa.Column("host", sa.Text),
        sa.Column("machine", sa.Text),
        sa.Column("pid", sa.Integer),
        sa.Column("pid_started", sa.Double),
        sa.Column("leased", sa.Double),
    )
    op.create_table(
        "generations",
        sa.Column("run_id", sa.Integer, sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("generation", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("evaluations", sa.Integer, nullable=False),
        sa.Column("failed", sa.Integer, nullable=False),
        sa.Column("best", sa.Double),
        sa.Column("mean", sa.Double),
        sa.Column("std", sa.Double),
        sa.Column("best_so_far", sa.Double),
        sa.Column("seconds", sa.Double),
        sa.Column("objectives", sa.Integer, nullable=False),
        sa.Column("metrics", sa.Text, nullable=False),
    )
    op.create_table(
        "individuals",
        sa.Column("run_id", sa.Integer, sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("generation", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("individual", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("fitness", sa.Double),
        sa.Column("seconds", sa.Double),
        sa.Column("worker", sa.Text, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("objectives", sa.LargeBinary),
        sa.Column("metrics", sa.LargeBinary, nullable=False),
        sa.Column("z", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "states",
        sa.Column("run_id", sa.Integer, sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("field", sa.String(100), primary_key=True),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
