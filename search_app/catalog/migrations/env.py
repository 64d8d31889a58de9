"""Alembic's entry: runs the migrations on the connection that migrate.py hands over."""

from alembic import context

from search_app.catalog.tables import metadata


def _is_ours(name: str | None, kind: str, _parents: object) -> bool:
    # The queue's tables are declared by procrastinate, in SQL.
    return kind != "table" or not (name or "").startswith("procrastinate_")


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # Vectors have tables of their own in another schema, made by the store.
    include_schemas=False,
    include_name=_is_ours,
    transaction_per_migration=True,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
