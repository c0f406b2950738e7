"""Constraints: what trials come to beside their first objective, and by how much they break what is bounded.

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_KNOWN = sa.text("violation IS NOT NULL")


def upgrade() -> None:
    op.add_column("studies", sa.Column("constraints", sa.Text(), nullable=True))
    op.add_column("studies", sa.Column("best_violation", sa.Double(), nullable=True))
    op.add_column("trials", sa.Column("violation", sa.Double(), nullable=True))
    op.add_column("reports", sa.Column("standing", sa.Text(), nullable=True))
    for name, columns in (
        ("trials_by_violation", ["study_id", "violation", "number"]),
        ("trials_best_feasible", ["study_id", "violation", "resource", "sort_value", "number"]),
    ):
        op.create_index(name, "trials", columns, sqlite_where=_KNOWN, postgresql_where=_KNOWN)


def downgrade() -> None:
    op.drop_index("trials_best_feasible", table_name="trials")
    op.drop_index("trials_by_violation", table_name="trials")
    op.drop_column("reports", "standing")
    op.drop_column("trials", "violation")
    op.drop_column("studies", "best_violation")
    op.drop_column("studies", "constraints")
