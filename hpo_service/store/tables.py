"""The tables: what is stored, under which keys, with which invariants as unique indexes. No statements, no verbs.

Times are integer microseconds since 1970 (UTC, the database's clock); money is integer micro-dollars; JSON is text.
A number that may be NaN or infinite has a kind beside it (`core.values.split`): the number is stored only where the
kind is finite. The schema itself is made by the migrations; a test holds both to be the same.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKeyConstraint,
    Index,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)
TRIAL_STATES = ("waiting", "running", "paused", "finished", "stopped", "failed")


def _text(name: str, *, null: bool = False, default: str | None = None) -> Column[str]:
    return Column(name, Text, nullable=null, server_default=default)


def _int(name: str, *, null: bool = False, default: int | None = None) -> Column[int]:
    return Column(name, BigInteger, nullable=null, server_default=None if default is None else text(str(default)))


def _real(name: str, *, null: bool = False, default: int | None = None) -> Column[float]:
    return Column(name, Double, nullable=null, server_default=None if default is None else text(str(default)))


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False, server_default=text("false"))


def _partial(name: str, table: Table, *columns: str, where: str, unique: bool = False) -> Index:
    condition = text(where)
    return Index(
        name,
        *(table.c[c] for c in columns),
        unique=unique,
        sqlite_where=condition,
        postgresql_where=condition,
    )


studies = Table(
    "studies",
    metadata,
    _text("id"),
    _text("name"),
    _text("project"),
    _text("created_by"),
    _int("created_at"),
    _text("state"),
    _text("reason", default=""),
    _text("definition"),
    _int("definition_version", default=1),
    _int("space_version", default=1),
    _text("space_digest"),
    _text("objectives"),  # of the definition: what collecting needs without reading all of it
    _int("retries"),
    _real("priority"),
    _int("parallel"),
    _text("tags", default="[]"),
    _text("notes", default=""),
    _flag("external"),
    _int("last_seq", default=0),
    _int("decision", default=0),
    _int("epoch", default=0),
    _text("lease_holder", null=True),
    _int("lease_expires_at", null=True),
    _int("next_trial", default=0),
    *(_int(state, default=0) for state in TRIAL_STATES),
    _int("open_attempts", default=0),
    _int("best_trial", null=True),
    _real("best_value", null=True),
    _real("best_resource", null=True),
    _real("resource", default=0),
    _int("cost_microdollars", default=0),
    _int("started_at", null=True),
    _int("ended_at", null=True),
    _text("ending_reason", default=""),
    _int("deleted_at", null=True),  # a tombstone: the id is never given again
    _flag("purged"),
    _int("imported", default=0),  # trials that ended elsewhere: no budget counts them
    _text("confirms", null=True),  # the study whose trials this one trains again with new seeds
    _text("constraints", null=True),  # of the definition, as `objectives`; null where there are none
    _real("best_violation", null=True),  # of the best trial; null without constraints, and where it is not known
    PrimaryKeyConstraint("id"),
)
_partial("studies_confirming", studies, "confirms", "created_at", where="confirms IS NOT NULL")
Index("studies_newest", studies.c.created_at, studies.c.id)
Index("studies_by_name", studies.c.name)
Index("studies_by_state", studies.c.state)

study_tags = Table(
    "study_tags",
    metadata,
    _text("study_id"),
    _text("tag"),
    PrimaryKeyConstraint("study_id", "tag"),
    ForeignKeyConstraint(["study_id"], ["studies.id"]),
    sqlite_with_rowid=False,
)
Index("study_tags_by_tag", study_tags.c.tag, study_tags.c.study_id)

events = Table(
    "events",
    metadata,
    _text("study_id"),
    _int("seq"),
    _text("kind"),
    _int("schema_version"),
    _int("epoch"),
    _int("decision", null=True),
    _int("observed_seq", null=True),
    _int("at"),
    _text("payload"),
    PrimaryKeyConstraint("study_id", "seq"),
    ForeignKeyConstraint(["study_id"], ["studies.id"]),
)
CHOSEN = "kind = 'methods_chosen'"
"""Written out wherever the index is to serve, as are all of these: the planner compares the words."""
_partial("events_methods", events, "study_id", "seq", where=CHOSEN)

improvements = Table(
    "improvements",
    metadata,
    _text("study_id"),
    _int("seq"),  # of the last event of the transaction that changed the best
    _int("trial", null=True),  # null where no trial ranks any more
    _real("value", null=True),
    _real("resource", null=True),
    _int("at"),
    _real("spent_resource"),  # the study's sums as of then
    _int("cost_microdollars"),
    _int("ended"),  # trials that had ended
    PrimaryKeyConstraint("study_id", "seq"),
    ForeignKeyConstraint(["study_id"], ["studies.id"]),
)

trials = Table(
    "trials",
    metadata,
    _text("study_id"),
    _int("number"),
    _text("state"),
    _text("reason", default=""),
    _text("origin"),
    _text("params"),
    _int("space_version"),
    _int("retry_of", null=True),
    _int("parent", null=True),
    _real("parent_resource", null=True),
    _int("bracket", null=True),
    _int("rung", null=True),
    _int("fence", default=0),
    _real("target", null=True),
    _real("horizon", null=True),
    _real("resource", default=0),
    _int("step", null=True),
    _text("value_kind", null=True),
    _real("value", null=True),
    _real("sort_value", null=True),  # the value where it ranks: finite, and the trial has not failed
    _text("metrics", default="{}"),
    _int("attempts", default=0),
    _int("losses", default=0),
    _int("cost_microdollars", default=0),
    _real("seconds", default=0),
    _text("stop_reason", null=True),  # a running trial that is to end as stopped
    _int("created_at"),
    _int("started_at", null=True),
    _int("ended_at", null=True),
    _text("tags", default="[]"),
    _text("notes", default=""),
    _real("violation", null=True),  # 0: keeps all constraints; null: without any, or not known (`constraints.total`)
    PrimaryKeyConstraint("study_id", "number"),
    ForeignKeyConstraint(["study_id"], ["studies.id"]),
)
Index("trials_by_state", trials.c.study_id, trials.c.state, trials.c.number)
Index("trials_by_origin", trials.c.study_id, trials.c.origin, trials.c.number)
Index("trials_by_resource", trials.c.study_id, trials.c.resource, trials.c.number)
Index("trials_by_cost", trials.c.study_id, trials.c.cost_microdollars, trials.c.number)
Index("trials_by_seconds", trials.c.study_id, trials.c.seconds, trials.c.number)
_partial("trials_by_value", trials, "study_id", "sort_value", "number", where="sort_value IS NOT NULL")
_partial("trials_best", trials, "study_id", "resource", "sort_value", "number", where="sort_value IS NOT NULL")
_VIOLATION = "violation IS NOT NULL"
_partial("trials_by_violation", trials, "study_id", "violation", "number", where=_VIOLATION)
_partial("trials_best_feasible", trials, "study_id", "violation", "resource", "sort_value", "number", where=_VIOLATION)
_partial("trials_by_bracket", trials, "study_id", "bracket", "number", where="bracket IS NOT NULL")
_partial("trials_by_rung", trials, "study_id", "rung", "number", where="rung IS NOT NULL")

trial_tags = Table(
    "trial_tags",
    metadata,
    _text("study_id"),
    _text("tag"),
    _int("trial"),
    PrimaryKeyConstraint("study_id", "tag", "trial"),
    ForeignKeyConstraint(["study_id", "trial"], ["trials.study_id", "trials.number"]),
    sqlite_with_rowid=False,
)
Index("trial_tags_by_trial", trial_tags.c.study_id, trial_tags.c.trial)

trial_params = Table(
    "trial_params",
    metadata,
    _text("study_id"),
    _int("trial"),
    _text("name"),
    _real("number", null=True),
    _text("text", null=True),
    PrimaryKeyConstraint("study_id", "trial", "name"),
    ForeignKeyConstraint(["study_id", "trial"], ["trials.study_id", "trials.number"]),
    sqlite_with_rowid=False,
)
_partial("params_by_number", trial_params, "study_id", "name", "number", "trial", where="number IS NOT NULL")
_partial("params_by_text", trial_params, "study_id", "name", "text", "trial", where="text IS NOT NULL")

trial_values = Table(
    "trial_values",
    metadata,
    _text("study_id"),
    _int("trial"),
    _text("name"),
    _text("kind"),
    _real("number", null=True),
    PrimaryKeyConstraint("study_id", "trial", "name"),
    ForeignKeyConstraint(["study_id", "trial"], ["trials.study_id", "trials.number"]),
    sqlite_with_rowid=False,
)
_partial("values_by_number", trial_values, "study_id", "name", "number", "trial", where="number IS NOT NULL")

attempts = Table(
    "attempts",
    metadata,
    _text("study_id"),
    _int("trial"),
    _int("fence"),
    _text("state"),
    _text("outcome", null=True),
    _text("failure", null=True),
    _text("reason", default=""),
    _text("traceback", default=""),
    _text("launch", default=""),
    _int("lane", default=0),
    _int("width", default=1),
    _text("method", default="plain"),
    _text("worker_id", null=True),
    _text("node", null=True),
    _text("device", null=True),
    _text("client_id", null=True),
    _real("lease_s", null=True),
    _int("lease_expires_at", null=True),
    _real("from_resource", default=0),
    _real("target", null=True),
    _real("horizon", null=True),
    _real("resumed_from", null=True),
    _real("resource", default=0),
    _int("last_step", null=True),
    _real("seconds", default=0),
    _int("cost_microdollars", default=0),
    _int("peak_memory_bytes", null=True),
    _int("gpu_peak_memory_bytes", null=True),
    _real("gpu_utilisation", null=True),
    _text("environment_digest", null=True),
    _text("code_digest", null=True),
    _text("data_digest", null=True),
    _int("log_bytes", default=0),
    _int("log_chars", default=0),
    _int("opened_at"),
    _int("started_at", null=True),
    _int("reported_at", null=True),
    _int("ended_at", null=True),
    _text("resumed_path", null=True),  # of the checkpoint that it went on from
    PrimaryKeyConstraint("study_id", "trial", "fence"),
    ForeignKeyConstraint(["study_id", "trial"], ["trials.study_id", "trials.number"]),
)
Index("attempts_by_time", attempts.c.study_id, attempts.c.opened_at)
FAILED = "outcome IN ('failed', 'lost')"
"""Written out wherever the index is to serve."""
IMPORTED = "imported"
"""The method of attempts that were made elsewhere."""
_partial("attempts_failed", attempts, "ended_at", where=FAILED)
LANES = "method = 'fused'"
_partial("attempts_by_launch", attempts, "study_id", "launch", where=LANES)
_partial("attempts_one_open", attempts, "study_id", "trial", where="state = 'open'", unique=True)
_partial(
    "attempts_of_client",
    attempts,
    "study_id",
    "client_id",
    "trial",
    where="state = 'open' AND client_id IS NOT NULL",
)

reports = Table(
    "reports",
    metadata,
    _text("study_id"),
    _int("trial"),
    _int("fence"),
    _int("step"),
    _int("seq"),  # of the event that tells of it
    _real("resource"),
    _text("value_kind", null=True),  # of the first objective; null where the report lacks it
    _real("value", null=True),
    _text("metrics"),
    _int("at"),
    _text("standing", null=True),  # JSON: what the trial came to in what is more than the first objective (`ReportRow`)
    PrimaryKeyConstraint("study_id", "trial", "fence", "step"),
    ForeignKeyConstraint(["study_id", "trial", "fence"], ["attempts.study_id", "attempts.trial", "attempts.fence"]),
    sqlite_with_rowid=False,
)
Index("reports_by_seq", reports.c.study_id, reports.c.seq)

surrogate_views = Table(
    "surrogate_views",
    metadata,
    _text("study_id"),
    _int("seq"),
    _int("at"),
    _text("document"),
    PrimaryKeyConstraint("study_id"),
    ForeignKeyConstraint(["study_id"], ["studies.id"]),
)

calibrations = Table(
    "calibrations",
    metadata,
    _text("key"),  # a digest of structure, trainer, device and versions
    _int("at"),
    _text("document"),
    PrimaryKeyConstraint("key"),
)

bundles = Table(
    "bundles",
    metadata,
    _text("digest"),  # SHA-256 of the archive
    _int("size_bytes"),
    _text("files"),  # JSON: name → [SHA-256, size in bytes]
    _text("project"),
    _text("created_by"),
    _int("created_at"),
    _int("used_at"),  # when it was last uploaded, or a study was submitted with it
    PrimaryKeyConstraint("digest", "project"),
)

artifacts = Table(
    "artifacts",
    metadata,
    _text("id"),
    _text("study_id"),
    _int("trial"),
    _int("fence"),
    _text("name"),
    _text("location"),  # relative to the artifacts' root
    _text("digest"),
    _int("size_bytes"),
    _text("media_type"),
    _int("at"),
    PrimaryKeyConstraint("id"),
    ForeignKeyConstraint(["study_id", "trial", "fence"], ["attempts.study_id", "attempts.trial", "attempts.fence"]),
)
Index("artifacts_by_trial", artifacts.c.study_id, artifacts.c.trial, artifacts.c.at)

reproductions = Table(
    "reproductions",
    metadata,
    _text("id"),
    _text("study_id"),
    _int("trial"),
    _text("state"),  # waiting, running, done, failed
    _text("asked_by"),
    _int("asked_at"),
    _text("holder", null=True),  # the controller that sees to it
    _int("lease_expires_at", null=True),
    _int("losses", default=0),  # workers that were lost over it
    _int("ended_at", null=True),
    _real("seconds", default=0),
    _int("cost_microdollars", default=0),
    _text("reason", default=""),  # why it failed
    _text("document", null=True),  # what was compared
    PrimaryKeyConstraint("id"),
    ForeignKeyConstraint(["study_id", "trial"], ["trials.study_id", "trials.number"]),
)
Index("reproductions_by_trial", reproductions.c.study_id, reproductions.c.trial, reproductions.c.asked_at)
_partial("reproductions_open", reproductions, "asked_at", where="state IN ('waiting', 'running')")

log_chunks = Table(
    "log_chunks",
    metadata,
    _text("study_id"),
    _int("trial"),
    _int("fence"),
    _int("start"),  # characters before this piece
    _text("content"),
    PrimaryKeyConstraint("study_id", "trial", "fence", "start"),
    ForeignKeyConstraint(["study_id", "trial", "fence"], ["attempts.study_id", "attempts.trial", "attempts.fence"]),
)

blobs = Table(
    "blobs",
    metadata,
    _text("digest"),
    _int("size_bytes"),
    _text("media_type"),
    _text("path", null=True),  # where a copy lies, relative to the storage root
    _int("references", default=0),
    _int("created_at"),
    PrimaryKeyConstraint("digest"),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    _text("study_id"),
    _int("trial"),
    _int("fence"),
    _int("step"),
    _real("resource"),
    _text("path"),
    _text("digest"),
    _int("at"),
    PrimaryKeyConstraint("study_id", "trial", "fence", "step"),
    ForeignKeyConstraint(["study_id", "trial", "fence"], ["attempts.study_id", "attempts.trial", "attempts.fence"]),
    ForeignKeyConstraint(["digest"], ["blobs.digest"]),
)
Index("checkpoints_by_digest", checkpoints.c.digest)

environments = Table(
    "environments",
    metadata,
    _text("digest"),
    _text("document"),
    _int("created_at"),
    PrimaryKeyConstraint("digest"),
)

texts = Table(
    "texts",
    metadata,
    _text("digest"),  # SHA-256, as environments name it
    _text("content"),
    _int("created_at"),
    PrimaryKeyConstraint("digest"),
)

workers = Table(
    "workers",
    metadata,
    _text("id"),
    _text("node"),
    _text("state"),
    _text("device"),
    _real("cpu"),
    _real("gpu"),
    _text("detail"),
    _text("controller"),
    _int("seen_at"),
    PrimaryKeyConstraint("id"),
)

tokens = Table(
    "tokens",
    metadata,
    _text("id"),
    _text("name"),
    _text("role"),
    _text("project"),
    _flag("may_submit_code"),
    _text("secret_sha256"),
    _int("created_at"),
    _int("expires_at", null=True),
    _int("revoked_at", null=True),
    _int("used_at", null=True),
    PrimaryKeyConstraint("id"),
)
Index("tokens_by_secret", tokens.c.secret_sha256, unique=True)

remembered = Table(
    "remembered",
    metadata,
    _text("scope"),
    _text("key"),
    _text("request_digest"),
    _text("result", null=True),
    _int("created_at"),
    _int("expires_at"),
    PrimaryKeyConstraint("scope", "key"),
)
Index("remembered_by_expiry", remembered.c.expires_at)
