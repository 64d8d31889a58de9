"""The JSON of indexes: what became of each, building another one, switching between them."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from search_app.types import IndexState, Precision
from search_app.web.collection_schemas import IndexJson
from search_app.web.index_examples import EXAMPLES
from search_app.web.schemas import Model


def _example(name: str) -> ConfigDict:
    return ConfigDict(json_schema_extra={"example": EXAMPLES[name]})


class IndexEventJson(Model):
    """Something that became of an index: created, ready, activated, left, retired or cleared."""

    event: str
    reason: str | None
    at: datetime


class IndexLifeJson(IndexJson):
    """An index, what it lacks, and what became of it; of a retired one nothing is counted.

    ``passages`` is how many it should have, ``missing`` how many of them have no vector, and
    ``uncut_documents`` are documents that have no passages for it yet.
    """

    passages: int | None
    missing: int | None
    uncut_documents: int | None
    events: list[IndexEventJson]


class Indexes(Model):
    """The indexes of a collection, the active one first and retired ones last."""

    model_config = _example("indexes")

    indexes: list[IndexLifeJson]


class ReindexBody(Model):
    """What an index beside the active one shall be; what is left out is as there."""

    model_config = _example("reindex")

    embedder: Annotated[
        str | None,
        Field(
            description="bundled, openai:MODEL, google:MODEL, bedrock:MODEL, cohere:MODEL, "
            "voyage:MODEL, onnx:FOLDER, sentence-transformers:NAME_OR_PATH, hashing:DIM"
        ),
    ] = None
    store: Annotated[Literal["pgvector", "qdrant"] | None, Field(description="The store")] = None
    precision: Annotated[
        Precision | None,
        Field(description="What numbers it searches by; pgvector cannot search int8"),
    ] = None
    chunk_tokens: Annotated[
        int | None, Field(ge=32, le=400, description="Most tokens of a passage")
    ] = None
    force: Annotated[bool, Field(description="Build one even if it is like the active one")] = False
    fresh: Annotated[
        bool, Field(description="Embed every passage again; no vector is taken over")
    ] = False
    budget: Annotated[
        float | None,
        Field(ge=0, description="Most money that may be spent, in the currency of the prices"),
    ] = None


class Switched(Model):
    """Which index answers now, and which one did before (null: it was active already).

    ``passages`` were found to have a vector; ``flip_ms`` is how long the change itself took.
    """

    model_config = _example("switched")

    collection: str
    index_id: UUID
    left_index_id: UUID | None
    passages: int
    flip_ms: float


class Retired(Model):
    """An index that is not kept any more; a worker deletes its vectors."""

    model_config = _example("retired")

    index_id: UUID
    state: IndexState
