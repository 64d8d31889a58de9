"""The truth about documents, chunks, models, indexes and runs: Postgres through SQLAlchemy."""
