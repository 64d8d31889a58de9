"""From what was asked for, as a job or the API carries it, to the analysis that does it."""

from collections.abc import Mapping

from ingest.analysing.clustering import ClusterRequest, cluster
from ingest.analysing.common import Done, Scope
from ingest.analysing.diversity import DiversityRequest, diversity
from ingest.analysing.labelling import LabelRequest, label
from ingest.analysing.mapping import MapRequest, map_passages
from ingest.analysing.outlying import OutlierRequest, outliers
from search_app.analysis.asking import check_asked
from search_app.analysis.clusters import read_method
from search_app.analysis.projection import read_projection
from search_app.bootstrap import Services
from search_app.catalog.analyses import CLUSTERS, DIVERSITY, LABELS, OUTLIERS
from search_app.types import JSON

_SCOPE = ("index", "filters", "seed")


async def analyse(
    services: Services,
    collection: str,
    kind: str,
    options: Mapping[str, JSON],
    *,
    job_id: int | None = None,
) -> Done:
    """Do an analysis and keep it; options that are left out are as commands have them.

    Raises:
        InvalidInputError: the kind or an option is not known, or as the analysis says.
    """
    check_asked(kind, options)
    given = {name: value for name, value in options.items() if value is not None}
    scope = Scope(
        collection=collection, **{name: given.pop(name) for name in _SCOPE if name in given}
    )
    if kind == CLUSTERS:
        if "method" in given:
            given["method"] = read_method(given["method"])
        return await cluster(services, ClusterRequest(scope=scope, **given), job_id=job_id)
    if kind == OUTLIERS:
        return await outliers(services, OutlierRequest(scope=scope, **given), job_id=job_id)
    if kind == DIVERSITY:
        return await diversity(services, DiversityRequest(scope=scope, **given), job_id=job_id)
    if kind == LABELS:
        return await label(services, LabelRequest(scope=scope, **given), job_id=job_id)
    if "method" in given:
        given["method"] = read_projection(given["method"])
    return await map_passages(services, MapRequest(scope=scope, **given), job_id=job_id)
