"""The embedding models of Amazon Bedrock: what each is sent, and where its answer has vectors."""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from search_app.embedders.hosted.failure import CallFailedError
from search_app.embedders.hosted.request import Request
from search_app.embedders.hosted.vectors import list_in
from search_app.errors import ConfigurationError
from search_app.types import JSON, Kind

PROVIDER = "bedrock"

_NAME = re.compile(
    r"(?:[a-z-]+\.)?"
    r"(?P<base>(?:amazon\.titan-embed-|amazon\.nova-[a-z0-9-]*embeddings-|cohere\.embed-)"
    r"[a-z0-9.:-]+)"
)
_RESOURCE = re.compile(r"arn:aws[a-z-]*:bedrock:[a-z0-9-]*:[0-9]*:[a-z-]+/(?P<name>[\w.:-]+)")

Purpose = Literal["GENERIC_RETRIEVAL", "TEXT_RETRIEVAL"]
"""What Nova is told of queries: that they look among everything, or among texts alone."""

COHERE_INPUTS: Mapping[Kind, str] = {
    "query": "search_query",
    "document": "search_document",
    "clustering": "clustering",
    "classification": "classification",
    # The only type that treats both sides alike and trains no classes.
    "similarity": "clustering",
    "code": "search_query",
    # There is no asking without.
    "bare": "search_document",
}
"""What each kind of text is to Cohere."""

NOVA_PURPOSES: Mapping[Kind, str] = {
    "document": "GENERIC_INDEX",
    "clustering": "CLUSTERING",
    "classification": "CLASSIFICATION",
    "similarity": "GENERIC_INDEX",
    # There is no asking without.
    "bare": "GENERIC_INDEX",
}
"""What each kind of text is to Nova; queries are what the settings say."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is asked of a model; each takes what it knows."""

    dimensions: int | None = None
    normalize: bool = True
    query_purpose: Purpose = "TEXT_RETRIEVAL"


class Family(ABC):
    """Models that are asked alike."""

    start: ClassVar[str]
    """How their names begin."""

    texts: ClassVar[int] = 1
    """Most texts of a request."""

    shortens: ClassVar[bool] = True
    """Whether dimensions can be asked for."""

    not_guaranteed: ClassVar[str] = ""

    @abstractmethod
    def body(self, texts: Sequence[str], kind: Kind, options: Options) -> dict[str, JSON]:
        """Make the body of a request."""

    @abstractmethod
    def values(self, payload: dict[str, JSON], request: Request) -> Sequence[JSON]:
        """Find the vectors in an answer, in the order of the texts."""

    def unit(self, options: Options) -> bool | None:
        """Whether vectors of length 1 are promised; None where nothing is said."""
        del options
        return None

    def settings(self, options: Options) -> dict[str, JSON]:
        """Give what of the options changes vectors, dimensions apart."""
        del options
        return {}


class TitanV1(Family):
    """Titan Text Embeddings, first version: long vectors, and no options."""

    start = "amazon.titan-embed-"
    shortens = False

    def body(self, texts: Sequence[str], kind: Kind, options: Options) -> dict[str, JSON]:
        """Send the only text."""
        del kind, options
        return {"inputText": texts[0]}

    def values(self, payload: dict[str, JSON], request: Request) -> Sequence[JSON]:
        """Take the only one."""
        return [list_in(payload, "embedding", request)]

    def unit(self, options: Options) -> bool | None:
        """They are about 19 long."""
        del options
        return False


class TitanV2(TitanV1):
    """Titan Text Embeddings, second version."""

    start = "amazon.titan-embed-text-v2"
    shortens = True

    def body(self, texts: Sequence[str], kind: Kind, options: Options) -> dict[str, JSON]:
        """Send the only text and what is wanted of its vector."""
        asked = super().body(texts, kind, options)
        if options.dimensions is not None:
            asked["dimensions"] = options.dimensions
        return {**asked, "normalize": options.normalize}

    def unit(self, options: Options) -> bool | None:
        """As asked for."""
        return options.normalize

    def settings(self, options: Options) -> dict[str, JSON]:
        """Whether they were to be of length 1."""
        return {"normalize": options.normalize}


class TitanMultimodal(TitanV1):
    """Titan Multimodal Embeddings G1, of which texts alone are asked for."""

    start = "amazon.titan-embed-image-v1"
    shortens = True
    not_guaranteed = (
        "AWS names 128 tokens in one place and 256 in another as the most of a text, and does not "
        "say what becomes of a longer one."
    )

    def body(self, texts: Sequence[str], kind: Kind, options: Options) -> dict[str, JSON]:
        """Send the only text and what is wanted of its vector."""
        asked = super().body(texts, kind, options)
        if options.dimensions is not None:
            asked["embeddingConfig"] = {"outputEmbeddingLength": options.dimensions}
        return asked

    def values(self, payload: dict[str, JSON], request: Request) -> Sequence[JSON]:
        """Take the only one; its errors travel beside it."""
        if payload.get("message"):
            words = request.shortened(str(payload["message"]))
            raise CallFailedError(reason=f"the model says: {words}", refused=True)
        return super().values(payload, request)

    def unit(self, options: Options) -> bool | None:
        """Nothing is said."""
        del options
        return None


class CohereV3(Family):
    """Cohere Embed, third version; as on Cohere's own address, but for the form of the answer."""

    start = "cohere.embed-"
    texts = 96
    shortens = False
    not_guaranteed = (
        "Cohere on Bedrock refuses texts of more than 2,048 characters, however few tokens they "
        "have; lengths of its vectors are 1 to about half a percent."
    )

    def body(self, texts: Sequence[str], kind: Kind, options: Options) -> dict[str, JSON]:
        """Send all texts as one type of input, and have it refused where one is too long."""
        del options
        return {"texts": list(texts), "input_type": COHERE_INPUTS[kind], "truncate": "NONE"}

    def values(self, payload: dict[str, JSON], request: Request) -> Sequence[JSON]:
        """Take them from a list, or from one of several lists by type."""
        found = payload.get("embeddings")
        if isinstance(found, dict):
            return list_in(found, "float", request)
        return list_in(payload, "embeddings", request)


class CohereV4(CohereV3):
    """Cohere Embed, fourth version: a choice of dimensions, and long texts."""

    start = "cohere.embed-v4"
    shortens = True
    not_guaranteed = "Lengths of its vectors are 1 to about half a percent."

    def body(self, texts: Sequence[str], kind: Kind, options: Options) -> dict[str, JSON]:
        """Send all texts, and what is wanted of their vectors."""
        asked = super().body(texts, kind, options)
        if options.dimensions is not None:
            asked["output_dimension"] = options.dimensions
        return asked


class Nova(Family):
    """Nova Multimodal Embeddings, of which texts alone are asked for."""

    start = "amazon.nova-"

    def body(self, texts: Sequence[str], kind: Kind, options: Options) -> dict[str, JSON]:
        """Send the only text with its purpose, and have it refused where it is too long."""
        asked: dict[str, JSON] = {
            "embeddingPurpose": NOVA_PURPOSES.get(kind, options.query_purpose),
            "text": {"value": texts[0], "truncationMode": "NONE"},
        }
        if options.dimensions is not None:
            asked["embeddingDimension"] = options.dimensions
        return {"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": asked}

    def values(self, payload: dict[str, JSON], request: Request) -> Sequence[JSON]:
        """Take the only one."""
        found = list_in(payload, "embeddings", request)
        return [item.get("embedding") if isinstance(item, dict) else None for item in found]

    def settings(self, options: Options) -> dict[str, JSON]:
        """What it is told of queries."""
        return {"query_purpose": options.query_purpose}


FAMILIES: Sequence[Family] = (
    TitanV2(),
    TitanMultimodal(),
    TitanV1(),
    CohereV4(),
    CohereV3(),
    Nova(),
)
"""Those with the longer names come first."""


@dataclass(frozen=True, kw_only=True)
class Named:
    """A model as a user names it: what it is, and what to ask for.

    ``asked`` may have a regional prefix, or be the ARN of an inference profile; ``base`` is the
    name of the model behind it.
    """

    name: str
    base: str
    asked: str
    family: Family


def read_name(name: str) -> Named:
    """Take a model's name apart: ``MODEL``, ``us.MODEL``, an ARN, or ``MODEL@ARN``.

    Raises:
        ConfigurationError: it names none of the models that are known here.
    """
    name = name.strip()
    model, _, profile = name.partition("@")
    resource = _RESOURCE.fullmatch(model)
    found = _NAME.fullmatch(resource["name"] if resource else model)
    if found is None and resource:
        raise ConfigurationError(
            f"bedrock:{name} does not say which model answers there: write bedrock:MODEL@{name}, "
            "for example bedrock:amazon.titan-embed-text-v2:0@arn:aws:bedrock:…"
        )
    if profile and not _RESOURCE.fullmatch(profile):
        raise ConfigurationError(
            f"bedrock:{name}: what follows @ is no ARN of an inference profile or a "
            "provisioned model"
        )
    base = found["base"] if found else ""
    family = next((each for each in FAMILIES if base.startswith(each.start)), None)
    if family is None:
        raise ConfigurationError(
            f"bedrock:{name} is no embedding model that is known here: write bedrock:MODEL with "
            "a model of Titan, Nova or Cohere, for example bedrock:amazon.titan-embed-text-v2:0"
        )
    return Named(name=name, base=base, asked=profile or model, family=family)
