"""Runs revisions on the connection that `store.migrate` passes in; its transaction is the caller's."""

from alembic import context

from hpo_service.store.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transactional_ddl=False)
context.run_migrations()
