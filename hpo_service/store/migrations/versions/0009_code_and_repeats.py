"""Bundles of code, artifacts of trials, trials trained again, and studies that confirm others.

Revision ID: 0009
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "bundles",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("files", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", "project", name=op.f("pk_bundles")),
    )
    op.create_table(
        "artifacts",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("study_id", sa.Text(), nullable=False),
        sa.Column("trial", sa.BigInteger(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_artifacts")),
        sa.ForeignKeyConstraint(
            ["study_id", "trial", "fence"],
            ["attempts.study_id", "attempts.trial", "attempts.fence"],
            name=op.f("fk_artifacts_attempts"),
        ),
    )
    op.create_index("artifacts_by_trial", "artifacts", ["study_id", "trial", "at"])
    op.create_table(
        "reproductions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("study_id", sa.Text(), nullable=False),
        sa.Column("trial", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("asked_by", sa.Text(), nullable=False),
        sa.Column("asked_at", sa.BigInteger(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=True),
        sa.Column("lease_expires_at", sa.BigInteger(), nullable=True),
        sa.Column("losses", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("seconds", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("cost_microdollars", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("document", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reproductions")),
        sa.ForeignKeyConstraint(
            ["study_id", "trial"], ["trials.study_id", "trials.number"], name=op.f("fk_reproductions_trials")
        ),
    )
    op.create_index("reproductions_by_trial", "reproductions", ["study_id", "trial", "asked_at"])
    op.create_index(
        "reproductions_open",
        "reproductions",
        ["asked_at"],
        sqlite_where=sa.text("state IN ('waiting', 'running')"),
        postgresql_where=sa.text("state IN ('waiting', 'running')"),
    )
    op.create_table(
        "texts",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_texts")),
    )
    op.add_column("attempts", sa.Column("resumed_path", sa.Text(), nullable=True))
    op.create_index(
        "attempts_by_launch",
        "attempts",
        ["study_id", "launch"],
        sqlite_where=sa.text("method = 'fused'"),
        postgresql_where=sa.text("method = 'fused'"),
    )
    op.add_column("studies", sa.Column("imported", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    op.add_column("studies", sa.Column("confirms", sa.Text(), nullable=True))
    op.create_index(
        "studies_confirming",
        "studies",
        ["confirms", "created_at"],
        sqlite_where=sa.text("confirms IS NOT NULL"),
        postgresql_where=sa.text("confirms IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("studies_confirming", table_name="studies")
    op.drop_column("studies", "confirms")
    op.drop_column("studies", "imported")
    op.drop_index("attempts_by_launch", table_name="attempts")
    op.drop_column("attempts", "resumed_path")
    op.drop_table("texts")
    op.drop_table("reproductions")
    op.drop_table("artifacts")
    op.drop_table("bundles")
