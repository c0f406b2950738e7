"""How a study's best trial came about: one row per change of it, with what had been spent by then.

A study that ran before this revision gets one row: its best as it stands, at the time of its newest event.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_BACKFILL = """
INSERT INTO improvements (study_id, seq, trial, value, resource, at, spent_resource, cost_microdollars, ended)
SELECT s.id, s.last_seq, s.best_trial, s.best_value, s.best_resource,
       COALESCE((SELECT e.at FROM events e WHERE e.study_id = s.id AND e.seq = s.last_seq), s.created_at),
       s.resource, s.cost_microdollars, s.finished + s.stopped + s.failed
FROM studies s
WHERE s.best_trial IS NOT NULL AND s.deleted_at IS NULL
"""


def upgrade() -> None:
    op.create_table(
        "improvements",
        sa.Column("study_id", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("trial", sa.BigInteger(), nullable=True),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("resource", sa.Double(), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("spent_resource", sa.Double(), nullable=False),
        sa.Column("cost_microdollars", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_improvements_studies")),
        sa.PrimaryKeyConstraint("study_id", "seq", name=op.f("pk_improvements")),
    )
    op.execute(_BACKFILL)


def downgrade() -> None:
    op.drop_table("improvements")
