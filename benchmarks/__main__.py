"""Run every measurement, one after the other, or only those that are named."""

import sys

from benchmarks import (
    analysis,
    answers,
    check,
    chunking,
    embedders,
    exporting,
    facets,
    ingest,
    mapping,
    parsing,
    quality,
    recommend,
    reconcile,
    reindex,
    search,
    stores,
    strength,
    terms,
    transport,
    web,
    workers,
)

PARTS = {
    "embedders": embedders,
    "chunking": chunking,
    "parsing": parsing,
    "ingest": ingest,
    "stores": stores,
    "search": search,
    "answers": answers,
    "web": web,
    "strength": strength,
    "terms": terms,
    "facets": facets,
    "reconcile": reconcile,
    "reindex": reindex,
    "check": check,
    "transport": transport,
    "workers": workers,
    "quality": quality,
    "analysis": analysis,
    "map": mapping,
    "recommend": recommend,
    "export": exporting,
}

names = sys.argv[1:] or list(PARTS)
# Some parts take arguments of their own when they are run alone.
del sys.argv[1:]
for name in names:
    if name not in PARTS:
        sys.exit(f"no measurement {name!r}; there are {', '.join(PARTS)}")
    PARTS[name].main()
