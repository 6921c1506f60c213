"""Alembic's environment: the migrations run in a transaction that `store.schema` has opened."""

from alembic import context

from lanternfish.service.store.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    compare_server_default=True,
    transactional_ddl=False,  # the transaction is the caller's
)
context.run_migrations()
