"""The JSON of collections in full, of lists of documents, failures and single models."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import ConfigDict, Field

from search_app.catalog.listing import EntryState
from search_app.types import IndexState, Precision, RunStatus
from search_app.web.collection_examples import EXAMPLES
from search_app.web.schemas import Model, ModelJson


def _example(name: str) -> ConfigDict:
    return ConfigDict(json_schema_extra={"example": EXAMPLES[name]})


class ChunkingJson(Model):
    """How documents are cut: into passages of so many tokens, counted by that tokenizer."""

    max_tokens: int
    tokenizer: str
    version: int


class IndexJson(Model):
    """An index; ``vectors`` is how many it holds, ``precision`` what numbers it searches by.

    They are ``unverified`` where they were imported while their model did not answer.
    """

    id: UUID
    collection: str
    state: IndexState
    store: str
    precision: Precision
    model_version_id: UUID
    model: str
    unverified: bool
    dimensions: int
    chunking: ChunkingJson
    vectors: int
    created_at: datetime
    activated_at: datetime | None


class LatestRunJson(Model):
    """The run of a collection that began last; ``errors`` counts what failed in it."""

    id: UUID
    kind: str
    status: RunStatus
    errors: int
    started_at: datetime
    finished_at: datetime | None


class CollectionDetail(Model):
    """A collection and what it holds.

    ``documents`` can be found, ``pending_documents`` are on their way in; ``languages`` and
    ``types`` count those that can be found. ``chunks`` is how many passages the active index has.
    """

    model_config = _example("collection")

    id: UUID
    name: str
    documents: int
    pending_documents: int
    chunks: int
    sources: int
    failed_sources: int
    languages: dict[str, int]
    types: dict[str, int]
    indexes: Annotated[list[IndexJson], Field(description="The active one first")]
    latest_run: LatestRunJson | None


class EntryJson(Model):
    """A line of the list: a document, or, without ``document_id``, a source that has none yet."""

    document_id: UUID | None
    source_id: UUID
    uri: str
    source: str
    title: str
    language: str
    type: str
    chunks: int
    state: EntryState
    reason: str | None
    changed_at: datetime


class Entries(Model):
    """A page of what a collection holds; ``total`` is how many entries pass the filters."""

    model_config = _example("entries")

    entries: list[EntryJson]
    total: int
    more: bool


class FailedSourceJson(Model):
    """A source that is failed now: why, since when, and the run that met it."""

    source_id: UUID
    collection: str
    source: str
    reason: str
    run_id: UUID | None
    failed_at: datetime


class ReasonJson(Model):
    """How many sources of a collection failed for a reason."""

    collection: str
    reason: str
    sources: int
    latest_at: datetime


class Failures(Model):
    """A page of what is failed now, and the commonest reasons for all of it."""

    model_config = _example("failures")

    failures: list[FailedSourceJson]
    reasons: list[ReasonJson]
    total: int
    more: bool


class ProofJson(Model):
    """One time that a model was asked for its canaries; without a run, by a search."""

    id: UUID
    run_id: UUID | None
    outcome: str
    lowest_cosine: float
    canary: str
    created_at: datetime


class AliasJson(Model):
    """A spec under which a model was met that had been registered under another."""

    spec: str
    created_at: datetime
    seen_at: datetime


class ModelDetail(ModelJson):
    """A model version with the indexes that use it and its proofs, newest first.

    ``aliases`` are specs under which its canaries were met again; ``outcomes`` counts all of its
    proofs.
    """

    model_config = _example("model")

    aliases: list[AliasJson]
    indexes: list[IndexJson]
    outcomes: dict[str, int]
    proofs: list[ProofJson]
    more: bool
