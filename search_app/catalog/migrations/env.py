"""Alembic's entry: runs the migrations on the connection that migrate.py hands over."""

from alembic import context

from search_app.catalog.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # Vectors have tables of their own in another schema, made by the store.
    include_schemas=False,
    transaction_per_migration=True,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
