"""The JSON of analyses: asking for one, their list, one whole, its passages, suggested labels."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from search_app.catalog.analyses import CLUSTERS, DIVERSITY, LABELS, MAP, OUTLIERS
from search_app.errors import InvalidInputError
from search_app.types import JSON
from search_app.web.analysis_examples import EXAMPLES
from search_app.web.schemas import Model

AnalysisKind = Literal["clusters", "outliers", "diversity", "labels", "map"]

OPTIONS: Mapping[str, frozenset[str]] = {
    CLUSTERS: frozenset({"method", "number", "field", "repeats"}),
    OUTLIERS: frozenset({"k", "cosine"}),
    DIVERSITY: frozenset({"query", "k", "mmr", "by"}),
    LABELS: frozenset({"name", "method", "labels", "group", "suggest"}),
    MAP: frozenset({"method", "neighbours"}),
}
"""What may be asked of each kind, besides an index, filters and a seed."""

_EVERY = frozenset({"index", "filters", "seed"})


def _example(name: str) -> ConfigDict:
    return ConfigDict(json_schema_extra={"example": EXAMPLES[name]})


class AskForAnalysis(Model):
    """What to analyse and how; what is left out is as the commands have it."""

    model_config = _example("ask")

    collection: Annotated[str, Field(description="The collection whose vectors are looked at")]
    kind: Annotated[AnalysisKind, Field(description="What to find out")]
    index: Annotated[
        str | None, Field(description="Id of an index, or the beginning; the active one")
    ] = None
    filters: Annotated[
        tuple[str, ...] | None,
        Field(strict=False, description="Only documents that pass all of these"),
    ] = None
    seed: Annotated[int | None, Field(ge=0, le=2**31, description="Of all that is drawn")] = None
    method: Annotated[
        str | None,
        Field(
            description="Clusters: k-means, agglomerative, hdbscan. Labels: zero-shot, knn, "
            "logistic, forest; for numbers ridge, forest-regression. Map: umap, pca"
        ),
    ] = None
    number: Annotated[
        int | None,
        Field(ge=2, le=500, description="Clusters; for hdbscan the least size of one"),
    ] = None
    field: Annotated[
        str | None, Field(description="Clusters are compared with it: meta.group, language")
    ] = None
    neighbours: Annotated[
        int | None, Field(ge=2, le=100, description="Map: passages that stay near one by umap")
    ] = None
    repeats: Annotated[int | None, Field(ge=0, le=50, description="By which stability is told")] = (
        None
    )
    k: Annotated[
        int | None, Field(ge=1, le=100, description="Outliers: neighbours. Diversity: hits")
    ] = None
    cosine: Annotated[
        float | None, Field(gt=0, le=1, description="From which passages are near-duplicates")
    ] = None
    query: Annotated[str | None, Field(description="Diversity of what this search finds")] = None
    mmr: Annotated[
        float | None, Field(ge=0, le=1, description="λ of maximal marginal relevance for it")
    ] = None
    by: Annotated[
        str | None, Field(description="Diversity of groups: year, month, day or a field")
    ] = None
    name: Annotated[str | None, Field(description="Labels: the metadata field, without meta.")] = (
        None
    )
    labels: Annotated[
        tuple[str, ...] | None,
        Field(strict=False, description="For zero-shot: names, or 'name: what it means'"),
    ] = None
    group: Annotated[
        str | None, Field(description="Labels: documents that agree in it are judged together")
    ] = None
    suggest: Annotated[bool | None, Field(description="Labels: false only judges")] = None

    def options(self) -> dict[str, JSON]:
        """Give what was asked besides collection and kind.

        Raises:
            InvalidInputError: an option of another kind.
        """
        given = self.model_dump(mode="json", exclude_none=True, exclude={"collection", "kind"})
        for name in given:
            if name not in _EVERY | OPTIONS[self.kind]:
                known = ", ".join(sorted(_EVERY | OPTIONS[self.kind]))
                raise InvalidInputError(f"{self.kind} have no option {name}; they have {known}")
        if self.kind == LABELS and not self.name:
            raise InvalidInputError("name the metadata field that labels are for, such as topic")
        return given


class AnalysisSummary(Model):
    """An analysis that is kept: what was asked of which index, and how long it took."""

    id: UUID
    kind: str
    collection: str
    index_id: UUID
    model_version_id: UUID
    model: str
    parameters: dict[str, JSON]
    seed: int
    seconds: float
    job_id: int | None
    at: datetime


class Analyses(Model):
    """Analyses, newest first; ``more`` says whether others follow."""

    model_config = _example("analyses")

    analyses: list[AnalysisSummary]
    more: bool


class AnalysisJson(AnalysisSummary):
    """An analysis with all its numbers, which differ by kind; the documentation has each."""

    model_config = _example("analysis")

    numbers: dict[str, JSON]


class MemberJson(Model):
    """A passage, its cluster (-1: none), and its cosine to the centre of it."""

    chunk_id: UUID
    cluster: int
    score: float
    document_id: UUID
    title: str
    text: str


class Members(Model):
    """Passages of an analysis by cluster, those nearest to their centre first."""

    model_config = _example("members")

    members: list[MemberJson]
    more: bool


class SuggestionJson(Model):
    """A suggested label: never a given value, and never found by filters on metadata.

    ``probability`` is null of a predicted number.
    """

    document_id: UUID
    title: str
    field: str
    name: str
    value: JSON
    probability: float | None
    method: str
    analysis_id: UUID
    model_version_id: UUID
    model: str
    at: datetime


class SuggestedLabels(Model):
    """Suggested labels, the least probable first."""

    model_config = _example("suggestions")

    suggestions: list[SuggestionJson]
    more: bool
