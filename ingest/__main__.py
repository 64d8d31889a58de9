"""``python -m ingest`` is the ingest command."""

from ingest.entry import main

main()
