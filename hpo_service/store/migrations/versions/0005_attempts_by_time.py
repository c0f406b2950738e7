"""A study's attempts in the order in which they were opened: what the timeline pages through.

Revision ID: 0005
Revises: 0004
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("attempts_by_time", "attempts", ["study_id", "opened_at"])


def downgrade() -> None:
    op.drop_index("attempts_by_time", table_name="attempts")
