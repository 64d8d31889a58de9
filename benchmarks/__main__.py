"""Run every measurement, one after the other, or only those that are named."""

import sys

from benchmarks import (
    check,
    chunking,
    embedders,
    facets,
    ingest,
    parsing,
    quality,
    reconcile,
    reindex,
    search,
    stores,
    workers,
)

PARTS = {
    "embedders": embedders,
    "chunking": chunking,
    "parsing": parsing,
    "ingest": ingest,
    "stores": stores,
    "search": search,
    "facets": facets,
    "reconcile": reconcile,
    "reindex": reindex,
    "check": check,
    "workers": workers,
    "quality": quality,
}

for name in sys.argv[1:] or PARTS:
    if name not in PARTS:
        sys.exit(f"no measurement {name!r}; there are {', '.join(PARTS)}")
    PARTS[name].main()
