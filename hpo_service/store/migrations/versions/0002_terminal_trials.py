"""A trial that ended never changes its state: held by the database itself.

Revision ID: 0002
Revises: 0001
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_SQLITE = """
CREATE TRIGGER trials_terminal BEFORE UPDATE OF state ON trials
WHEN OLD.state IN ('finished', 'stopped', 'failed') AND NEW.state <> OLD.state
BEGIN
    SELECT RAISE(ABORT, 'a trial that ended never changes its state');
END
"""
_FUNCTION = """
CREATE FUNCTION refuse_terminal_trial() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a trial that ended never changes its state' USING ERRCODE = 'integrity_constraint_violation';
END
$$
"""
_POSTGRESQL = """
CREATE TRIGGER trials_terminal BEFORE UPDATE OF state ON trials FOR EACH ROW
WHEN (OLD.state IN ('finished', 'stopped', 'failed') AND NEW.state <> OLD.state)
EXECUTE FUNCTION refuse_terminal_trial()
"""


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute(_SQLITE)
    else:
        op.execute(_FUNCTION)
        op.execute(_POSTGRESQL)


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER trials_terminal")
    else:
        op.execute("DROP TRIGGER trials_terminal ON trials")
        op.execute("DROP FUNCTION refuse_terminal_trial()")
