"""Where the command ingest begins, before the imports that take the most of a second."""

from search_app.entry import enter


def main() -> None:
    """Run the command ingest."""
    enter("ingest.cli")
