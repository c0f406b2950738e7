"""The newest picture of each study's surrogate.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "surrogate_views",
        sa.Column("study_id", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_surrogate_views_studies")),
        sa.PrimaryKeyConstraint("study_id", name=op.f("pk_surrogate_views")),
    )


def downgrade() -> None:
    op.drop_table("surrogate_views")
