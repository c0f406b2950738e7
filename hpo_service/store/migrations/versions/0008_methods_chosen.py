"""Where the log chooses methods: found without a walk along it.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "events_methods",
        "events",
        ["study_id", "seq"],
        sqlite_where=sa.text("kind = 'methods_chosen'"),
        postgresql_where=sa.text("kind = 'methods_chosen'"),
    )


def downgrade() -> None:
    op.drop_index("events_methods", table_name="events")
