"""Every table and index.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "blobs",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=True),
        sa.Column("references", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_blobs")),
    )
    op.create_table(
        "environments",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_environments")),
    )
    op.create_table(
        "remembered",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request_digest", sa.Text(), nullable=False),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "key", name=op.f("pk_remembered")),
    )
    op.create_index("remembered_by_expiry", "remembered", ["expires_at"], unique=False)
    op.create_table(
        "studies",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column(
            "definition_version", sa.BigInteger(), server_default=sa.text("1"), nullable=False
        ),
        sa.Column("space_version", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("space_digest", sa.Text(), nullable=False),
        sa.Column("objectives", sa.Text(), nullable=False),
        sa.Column("retries", sa.BigInteger(), nullable=False),
        sa.Column("priority", sa.Double(), nullable=False),
        sa.Column("parallel", sa.BigInteger(), nullable=False),
        sa.Column("tags", sa.Text(), server_default="[]", nullable=False),
        sa.Column("notes", sa.Text(), server_default="", nullable=False),
        sa.Column("external", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("decision", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("epoch", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("lease_holder", sa.Text(), nullable=True),
        sa.Column("lease_expires_at", sa.BigInteger(), nullable=True),
        sa.Column("next_trial", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("waiting", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("running", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("paused", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("finished", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("stopped", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("failed", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("open_attempts", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("best_trial", sa.BigInteger(), nullable=True),
        sa.Column("best_value", sa.Double(), nullable=True),
        sa.Column("best_resource", sa.Double(), nullable=True),
        sa.Column("resource", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "cost_microdollars", sa.BigInteger(), server_default=sa.text("0"), nullable=False
        ),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("ending_reason", sa.Text(), server_default="", nullable=False),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.Column("purged", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_studies")),
    )
    op.create_index("studies_by_name", "studies", ["name"], unique=False)
    op.create_index("studies_by_state", "studies", ["state"], unique=False)
    op.create_index("studies_newest", "studies", ["created_at", "id"], unique=False)
    op.create_table(
        "tokens",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("may_submit_code", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("secret_sha256", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.Column("used_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
    )
    op.create_index("tokens_by_secret", "tokens", ["secret_sha256"], unique=True)
    op.create_table(
        "workers",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("cpu", sa.Double(), nullable=False),
        sa.Column("gpu", sa.Double(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("controller", sa.Text(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
    )
    op.create_table(
        "events",
        sa.Column("study_id", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("schema_version", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("decision", sa.BigInteger(), nullable=True),
        sa.Column("observed_seq", sa.BigInteger(), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_events_studies")),
        sa.PrimaryKeyConstraint("study_id", "seq", name=op.f("pk_events")),
    )
    op.create_table(
        "study_tags",
        sa.Column("study_id", sa.Text(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_study_tags_studies")),
        sa.PrimaryKeyConstraint("study_id", "tag", name=op.f("pk_study_tags")),
        sqlite_with_rowid=False,
    )
    op.create_index("study_tags_by_tag", "study_tags", ["tag", "study_id"], unique=False)
    op.create_table(
        "trials",
        sa.Column("study_id", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("params", sa.Text(), nullable=False),
        sa.Column("space_version", sa.BigInteger(), nullable=False),
        sa.Column("retry_of", sa.BigInteger(), nullable=True),
        sa.Column("parent", sa.BigInteger(), nullable=True),
        sa.Column("parent_resource", sa.Double(), nullable=True),
        sa.Column("bracket", sa.BigInteger(), nullable=True),
        sa.Column("rung", sa.BigInteger(), nullable=True),
        sa.Column("fence", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("target", sa.Double(), nullable=True),
        sa.Column("horizon", sa.Double(), nullable=True),
        sa.Column("resource", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=True),
        sa.Column("value_kind", sa.Text(), nullable=True),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("sort_value", sa.Double(), nullable=True),
        sa.Column("metrics", sa.Text(), server_default="{}", nullable=False),
        sa.Column("attempts", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("losses", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "cost_microdollars", sa.BigInteger(), server_default=sa.text("0"), nullable=False
        ),
        sa.Column("seconds", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("stop_reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("tags", sa.Text(), server_default="[]", nullable=False),
        sa.Column("notes", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_trials_studies")),
        sa.PrimaryKeyConstraint("study_id", "number", name=op.f("pk_trials")),
    )
    op.create_index(
        "trials_best",
        "trials",
        ["study_id", "resource", "sort_value", "number"],
        unique=False,
        sqlite_where=sa.text("sort_value IS NOT NULL"),
        postgresql_where=sa.text("sort_value IS NOT NULL"),
    )
    op.create_index(
        "trials_by_bracket",
        "trials",
        ["study_id", "bracket", "number"],
        unique=False,
        sqlite_where=sa.text("bracket IS NOT NULL"),
        postgresql_where=sa.text("bracket IS NOT NULL"),
    )
    op.create_index(
        "trials_by_cost", "trials", ["study_id", "cost_microdollars", "number"], unique=False
    )
    op.create_index("trials_by_origin", "trials", ["study_id", "origin", "number"], unique=False)
    op.create_index(
        "trials_by_resource", "trials", ["study_id", "resource", "number"], unique=False
    )
    op.create_index(
        "trials_by_rung",
        "trials",
        ["study_id", "rung", "number"],
        unique=False,
        sqlite_where=sa.text("rung IS NOT NULL"),
        postgresql_where=sa.text("rung IS NOT NULL"),
    )
    op.create_index("trials_by_seconds", "trials", ["study_id", "seconds", "number"], unique=False)
    op.create_index("trials_by_state", "trials", ["study_id", "state", "number"], unique=False)
    op.create_index(
        "trials_by_value",
        "trials",
        ["study_id", "sort_value", "number"],
        unique=False,
        sqlite_where=sa.text("sort_value IS NOT NULL"),
        postgresql_where=sa.text("sort_value IS NOT NULL"),
    )
    op.create_table(
        "attempts",
        sa.Column("study_id", sa.Text(), nullable=False),
        sa.Column("trial", sa.BigInteger(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("traceback", sa.Text(), server_default="", nullable=False),
        sa.Column("launch", sa.Text(), server_default="", nullable=False),
        sa.Column("lane", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("width", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("method", sa.Text(), server_default="plain", nullable=False),
        sa.Column("worker_id", sa.Text(), nullable=True),
        sa.Column("node", sa.Text(), nullable=True),
        sa.Column("device", sa.Text(), nullable=True),
        sa.Column("client_id", sa.Text(), nullable=True),
        sa.Column("lease_s", sa.Double(), nullable=True),
        sa.Column("lease_expires_at", sa.BigInteger(), nullable=True),
        sa.Column("from_resource", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("target", sa.Double(), nullable=True),
        sa.Column("horizon", sa.Double(), nullable=True),
        sa.Column("resumed_from", sa.Double(), nullable=True),
        sa.Column("resource", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=True),
        sa.Column("seconds", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "cost_microdollars", sa.BigInteger(), server_default=sa.text("0"), nullable=False
        ),
        sa.Column("peak_memory_bytes", sa.BigInteger(), nullable=True),
        sa.Column("gpu_peak_memory_bytes", sa.BigInteger(), nullable=True),
        sa.Column("gpu_utilisation", sa.Double(), nullable=True),
        sa.Column("environment_digest", sa.Text(), nullable=True),
        sa.Column("code_digest", sa.Text(), nullable=True),
        sa.Column("data_digest", sa.Text(), nullable=True),
        sa.Column("log_bytes", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("log_chars", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("reported_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["study_id", "trial"],
            ["trials.study_id", "trials.number"],
            name=op.f("fk_attempts_trials"),
        ),
        sa.PrimaryKeyConstraint("study_id", "trial", "fence", name=op.f("pk_attempts")),
    )
    op.create_index(
        "attempts_of_client",
        "attempts",
        ["study_id", "client_id", "trial"],
        unique=False,
        sqlite_where=sa.text("state = 'open' AND client_id IS NOT NULL"),
        postgresql_where=sa.text("state = 'open' AND client_id IS NOT NULL"),
    )
    op.create_index(
        "attempts_one_open",
        "attempts",
        ["study_id", "trial"],
        unique=True,
        sqlite_where=sa.text("state = 'open'"),
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_table(
        "trial_params",
        sa.Column("study_id", sa.Text(), nullable=False),
        sa.Column("trial", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("number", sa.Double(), nullable=True),
        sa.Column("text", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["study_id", "trial"],
            ["trials.study_id", "trials.number"],
            name=op.f("fk_trial_params_trials"),
        ),
        sa.PrimaryKeyConstraint("study_id", "trial", "name", name=op.f("pk_trial_params")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "params_by_number",
        "trial_params",
        ["study_id", "name", "number", "trial"],
        unique=False,
        sqlite_where=sa.text("number IS NOT NULL"),
        postgresql_where=sa.text("number IS NOT NULL"),
    )
    op.create_index(
        "params_by_text",
        "trial_params",
        ["study_id", "name", "text", "trial"],
        unique=False,
        sqlite_where=sa.text("text IS NOT NULL"),
        postgresql_where=sa.text("text IS NOT NULL"),
    )
    op.create_table(
        "trial_tags",
        sa.Column("study_id", sa.Text(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("trial", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id", "trial"],
            ["trials.study_id", "trials.number"],
            name=op.f("fk_trial_tags_trials"),
        ),
        sa.PrimaryKeyConstraint("study_id", "tag", "trial", name=op.f("pk_trial_tags")),
        sqlite_with_rowid=False,
    )
    op.create_index("trial_tags_by_trial", "trial_tags", ["study_id", "trial"], unique=False)
    op.create_table(
        "trial_values",
        sa.Column("study_id", sa.Text(), nullable=False),
        sa.Column("trial", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("number", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["study_id", "trial"],
            ["trials.study_id", "trials.number"],
            name=op.f("fk_trial_values_trials"),
        ),
        sa.PrimaryKeyConstraint("study_id", "trial", "name", name=op.f("pk_trial_values")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "values_by_number",
        "trial_values",
        ["study_id", "name", "number", "trial"],
        unique=False,
        sqlite_where=sa.text("number IS NOT NULL"),
        postgresql_where=sa.text("number IS NOT NULL"),
    )
    op.create_table(
        "checkpoints",
        sa.Column("study_id", sa.Text(), nullable=False),
        sa.Column("trial", sa.BigInteger(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("resource", sa.Double(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id", "trial", "fence"],
            ["attempts.study_id", "attempts.trial", "attempts.fence"],
            name=op.f("fk_checkpoints_attempts"),
        ),
        sa.ForeignKeyConstraint(["digest"], ["blobs.digest"], name=op.f("fk_checkpoints_blobs")),
        sa.PrimaryKeyConstraint("study_id", "trial", "fence", "step", name=op.f("pk_checkpoints")),
    )
    op.create_index("checkpoints_by_digest", "checkpoints", ["digest"], unique=False)
    op.create_table(
        "log_chunks",
        sa.Column("study_id", sa.Text(), nullable=False),
        sa.Column("trial", sa.BigInteger(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id", "trial", "fence"],
            ["attempts.study_id", "attempts.trial", "attempts.fence"],
            name=op.f("fk_log_chunks_attempts"),
        ),
        sa.PrimaryKeyConstraint("study_id", "trial", "fence", "start", name=op.f("pk_log_chunks")),
    )
    op.create_table(
        "reports",
        sa.Column("study_id", sa.Text(), nullable=False),
        sa.Column("trial", sa.BigInteger(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("resource", sa.Double(), nullable=False),
        sa.Column("value_kind", sa.Text(), nullable=True),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("metrics", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id", "trial", "fence"],
            ["attempts.study_id", "attempts.trial", "attempts.fence"],
            name=op.f("fk_reports_attempts"),
        ),
        sa.PrimaryKeyConstraint("study_id", "trial", "fence", "step", name=op.f("pk_reports")),
        sqlite_with_rowid=False,
    )
    op.create_index("reports_by_seq", "reports", ["study_id", "seq"], unique=False)


def downgrade() -> None:
    op.drop_table("reports")
    op.drop_table("log_chunks")
    op.drop_table("checkpoints")
    op.drop_table("trial_values")
    op.drop_table("trial_tags")
    op.drop_table("trial_params")
    op.drop_table("attempts")
    op.drop_table("trials")
    op.drop_table("study_tags")
    op.drop_table("events")
    op.drop_table("workers")
    op.drop_table("tokens")
    op.drop_table("studies")
    op.drop_table("remembered")
    op.drop_table("environments")
    op.drop_table("blobs")
