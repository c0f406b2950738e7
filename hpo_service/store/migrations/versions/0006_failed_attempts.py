"""Attempts that failed or were lost, by when: what the cluster's page shows first.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "attempts_failed",
        "attempts",
        ["ended_at"],
        sqlite_where=sa.text("outcome IN ('failed', 'lost')"),
        postgresql_where=sa.text("outcome IN ('failed', 'lost')"),
    )


def downgrade() -> None:
    op.drop_index("attempts_failed", table_name="attempts")
