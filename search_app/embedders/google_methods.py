"""What Google is asked and what it answers: its models, their tasks, and three ways to ask."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from search_app.embedders.hosted.request import Request
from search_app.embedders.hosted.vectors import count_of, list_in
from search_app.types import JSON, Kind

TASKS: Mapping[Kind, str] = {
    "query": "RETRIEVAL_QUERY",
    "document": "RETRIEVAL_DOCUMENT",
    "similarity": "SEMANTIC_SIMILARITY",
    "classification": "CLASSIFICATION",
    "clustering": "CLUSTERING",
    "code": "CODE_RETRIEVAL_QUERY",
}
"""The task type that goes with each kind of text; bare texts go without."""

INSTRUCTIONS: Mapping[Kind, str] = {
    "query": "task: search result | query: ",
    "document": "title: none | text: ",
    "similarity": "task: sentence similarity | query: ",
    "classification": "task: classification | query: ",
    "clustering": "task: clustering | query: ",
    "code": "task: code retrieval | query: ",
}
"""What stands before a text in place of a task type, for models that take their task in words."""

SECOND = "gemini-embedding-2"
"""The family that takes images and sound too: several parts of a content become one vector."""


def takes_instructions(model: str) -> bool:
    """Whether a model reads its task from the text; its preview is sent task types."""
    return model.startswith(SECOND) and "preview" not in model


def text_limit(model: str) -> int | None:
    """Give the most tokens of one text; None of a model that is not known."""
    for start, tokens in ((SECOND, 8192), ("gemini-embedding-", 2048), ("text-", 2048)):
        if model.startswith(start):
            return tokens
    return None


def is_unit(model: str, dimensions: int | None) -> bool | None:
    """Whether Google promises vectors of length 1; None where it says nothing."""
    if model.startswith(SECOND):
        return True
    if model.startswith("gemini-embedding-001"):
        return dimensions in (None, 3072)
    return None


class Method(ABC):
    """One of the ways to ask: what is sent, and where the answer has its vectors.

    Each text travels as a content, an instance or a request of its own, never as one of several
    parts: the models make one vector of all parts.
    """

    name: ClassVar[str]
    texts: ClassVar[int]
    """Most texts of a request."""

    @abstractmethod
    def body(
        self, texts: Sequence[str], model: str, task: str | None, dimensions: int | None
    ) -> dict[str, JSON]:
        """Make the body of a request."""

    @abstractmethod
    def values(self, payload: dict[str, JSON], request: Request) -> list[JSON]:
        """Find the vectors in an answer, in the order of the texts."""

    def tokens(self, payload: dict[str, JSON]) -> int | None:
        """Find how many tokens were counted."""
        usage = payload.get("usageMetadata")
        counted = usage.get("promptTokenCount") if isinstance(usage, dict) else None
        return counted if isinstance(counted, int) else None

    def truncated(self, payload: dict[str, JSON]) -> list[int]:
        """Find the places of texts that were cut off."""
        return [0] if payload.get("truncated") is True else []


class Batch(Method):
    """Of the Gemini API: a list of requests."""

    name = "batchEmbedContents"
    texts = 100

    def body(
        self, texts: Sequence[str], model: str, task: str | None, dimensions: int | None
    ) -> dict[str, JSON]:
        """Make one request of each text."""
        options = given(taskType=task, outputDimensionality=dimensions)
        return {
            "requests": [
                {"model": f"models/{model}", "content": content(text), **options} for text in texts
            ]
        }

    def values(self, payload: dict[str, JSON], request: Request) -> list[JSON]:
        """Take them from ``embeddings``."""
        return [_within(item, "values") for item in list_in(payload, "embeddings", request)]


class Single(Method):
    """Of Vertex AI, for models that take more than text: one content."""

    name = "embedContent"
    texts = 1

    def body(
        self, texts: Sequence[str], model: str, task: str | None, dimensions: int | None
    ) -> dict[str, JSON]:
        """Send the only text, and have it refused where it is too long."""
        del model
        options = given(taskType=task, outputDimensionality=dimensions, autoTruncate=False)
        return {"content": content(texts[0]), "embedContentConfig": options}

    def values(self, payload: dict[str, JSON], request: Request) -> list[JSON]:
        """Take the only one from ``embedding``."""
        found = payload.get("embedding")
        items = [found] if isinstance(found, dict) else list_in(payload, "embedding", request)
        return [_within(item, "values") for item in items]


class Predict(Method):
    """Of Vertex AI, for models of text: a list of instances."""

    name = "predict"
    texts = 250

    def body(
        self, texts: Sequence[str], model: str, task: str | None, dimensions: int | None
    ) -> dict[str, JSON]:
        """Make one instance of each text, and have it refused where one is too long."""
        del model
        options = given(task_type=task)
        return {
            "instances": [{"content": text, **options} for text in texts],
            "parameters": given(autoTruncate=False, outputDimensionality=dimensions),
        }

    def values(self, payload: dict[str, JSON], request: Request) -> list[JSON]:
        """Take them from ``predictions``."""
        items = list_in(payload, "predictions", request)
        return [_within(item, "embeddings", "values") for item in items]

    def tokens(self, payload: dict[str, JSON]) -> int | None:
        """Add up what was counted of each text."""
        counted = [count_of(each.get("token_count")) for each in self._statistics(payload)]
        known = [count for count in counted if count is not None]
        return sum(known) if len(known) == len(counted) else None

    def truncated(self, payload: dict[str, JSON]) -> list[int]:
        """Find what was cut off in spite of what was asked."""
        found = self._statistics(payload)
        return [place for place, each in enumerate(found) if each.get("truncated") is True]

    def _statistics(self, payload: dict[str, JSON]) -> list[dict[str, JSON]]:
        found = [_within(item, "embeddings", "statistics") for item in payload["predictions"]]
        return [each if isinstance(each, dict) else {} for each in found]


class OnePrediction(Predict):
    """The same for a model that takes one text in a request."""

    texts = 1


def method_of(model: str, *, vertex: bool) -> Method:
    """Choose how to ask for a model."""
    if not vertex:
        return Batch()
    if model.startswith(SECOND):
        return Single()
    return OnePrediction() if model.startswith("gemini-") else Predict()


def content(text: str) -> dict[str, JSON]:
    """Make the content that a text is, alone in it."""
    return {"parts": [{"text": text}]}


def given(**options: JSON) -> dict[str, JSON]:
    """Leave out what is None."""
    return {name: value for name, value in options.items() if value is not None}


def _within(value: JSON, *names: str) -> JSON:
    """Go down by names; None where there is no such way."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value
