"""Run every measurement, one after the other."""

from benchmarks import chunking, embedders, ingest, search, stores

for part in (embedders, chunking, ingest, stores, search):
    part.main()
