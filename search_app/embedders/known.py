"""What providers say of their models: dimensions, limits, length of vectors, where prices stand.

A model that is not listed here works as well: its limits are then found out by the provider's
refusals, its dimensions by its answers. Figures are those of the pages named as ``source``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from search_app.embedders.base import Limits
from search_app.errors import ConfigurationError


class Determinism(StrEnum):
    """Whether a text gets the same vector every time, as far as can be said before asking."""

    BIT_STABLE = "bit-stable"
    """Measured on what comes with this program, with the settings it comes with."""
    MODEL = "bit-stable one by one"
    """A model of the user's own: each text by itself gives the same bits on the same machine."""
    NOT_PROMISED = "not promised"
    """The provider says nothing; equal texts were seen to come back different in their last bits,
    or more."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """A model as its provider describes it; None where the provider says nothing.

    ``dimensions`` are those of an answer for which none were asked, ``choices`` those that can be
    asked for, the default among them; empty where there is no choice. ``text_tokens`` and
    ``request_tokens`` are limits as in ``Limits``, ``request_texts`` the most texts of a request.
    ``unit`` says whether vectors of length 1 are promised.
    """

    provider: str
    model: str
    dimensions: int | None = None
    choices: Sequence[int] = ()
    text_tokens: int | None = None
    request_tokens: int | None = None
    request_texts: int | None = None
    unit: bool | None = None
    determinism: Determinism = Determinism.NOT_PROMISED
    source: str = ""
    price: str = ""

    @property
    def spec(self) -> str:
        """How a user names it."""
        return f"{self.provider}:{self.model}" if self.model else self.provider

    @property
    def limits(self) -> Limits:
        """Its limits, as an embedder declares them."""
        return Limits(text_tokens=self.text_tokens, request_tokens=self.request_tokens)


def find(provider: str, model: str) -> Known | None:
    """Look a model up; None where it is not listed."""
    return _BY_NAME.get((provider, model))


def check_dimensions(provider: str, model: str, dimensions: int | None) -> None:
    """Refuse dimensions that a listed model is known not to have.

    Raises:
        ConfigurationError: names those that it has.
    """
    known = find(provider, model)
    if known is None or dimensions is None or dimensions == known.dimensions:
        return
    if not known.choices:
        raise ConfigurationError(
            f"{known.spec} has {known.dimensions} dimensions and no choice of them; "
            "leave out ?dimensions="
        )
    if dimensions not in known.choices:
        raise ConfigurationError(
            f"{known.spec} has no {dimensions} dimensions; it has {choices_of(known)}"
        )


def choices_of(known: Known) -> str:
    """Write the dimensions that can be asked for; empty where there is no choice."""
    if isinstance(known.choices, range):
        return f"{known.choices[0]} to {known.choices[-1]}"
    return ", ".join(map(str, known.choices))


def _openai(model: str, dimensions: int, choices: Sequence[int] = ()) -> Known:
    return Known(
        provider="openai",
        model=model,
        dimensions=dimensions,
        choices=choices,
        text_tokens=8192,
        request_tokens=300_000,
        request_texts=2048,
        unit=True,
        source="https://platform.openai.com/docs/guides/embeddings",
        price="https://openai.com/api/pricing",
    )


def _gemini(model: str, *, tokens: int) -> Known:
    """Describe a model as the Gemini API offers it; Vertex AI takes one text in a request."""
    return Known(
        provider="google",
        model=model,
        dimensions=3072,
        choices=range(128, 3073),
        text_tokens=tokens,
        request_texts=100,
        unit=True,
        source="https://ai.google.dev/gemini-api/docs/embeddings",
        price="https://ai.google.dev/gemini-api/docs/pricing",
    )


def _vertex(model: str) -> Known:
    return Known(
        provider="google",
        model=model,
        dimensions=768,
        choices=range(1, 769),
        text_tokens=2048,
        request_tokens=20_000,
        request_texts=250,
        source="https://cloud.google.com/vertex-ai/generative-ai/docs/embeddings",
        price="https://cloud.google.com/vertex-ai/generative-ai/pricing",
    )


def _bedrock(
    model: str,
    dimensions: int,
    *,
    tokens: int,
    texts: int = 1,
    choices: Sequence[int] = (),
    unit: bool | None = None,
) -> Known:
    return Known(
        provider="bedrock",
        model=model,
        dimensions=dimensions,
        choices=choices,
        text_tokens=tokens,
        request_texts=texts,
        unit=unit,
        source="https://docs.aws.amazon.com/bedrock/latest/userguide/models-supported.html",
        price="https://aws.amazon.com/bedrock/pricing/",
    )


def _cohere(
    model: str, dimensions: int, *, tokens: int = 512, choices: Sequence[int] = ()
) -> Known:
    return Known(
        provider="cohere",
        model=model,
        dimensions=dimensions,
        choices=choices,
        text_tokens=tokens,
        request_texts=96,
        source="https://docs.cohere.com/docs/cohere-embed",
        price="https://cohere.com/pricing",
    )


def _voyage(
    model: str,
    *,
    request: int = 120_000,
    tokens: int = 32_000,
    choices: Sequence[int] = (256, 512, 1024, 2048),
) -> Known:
    return Known(
        provider="voyage",
        model=model,
        dimensions=1024,
        choices=choices,
        text_tokens=tokens,
        request_tokens=request,
        request_texts=1000,
        unit=True,
        source="https://docs.voyageai.com/docs/embeddings",
        price="https://docs.voyageai.com/docs/pricing",
    )


_COHERE_V4 = (256, 512, 1024, 1536)

KNOWN: Sequence[Known] = (
    Known(
        provider="bundled",
        model="",
        dimensions=384,
        text_tokens=512,
        unit=True,
        determinism=Determinism.BIT_STABLE,
        source="https://huggingface.co/intfloat/multilingual-e5-small",
    ),
    Known(provider="onnx", model="FOLDER", determinism=Determinism.MODEL),
    Known(provider="sentence-transformers", model="NAME_OR_PATH", determinism=Determinism.MODEL),
    Known(provider="hashing", model="DIM", unit=True, determinism=Determinism.BIT_STABLE),
    _openai("text-embedding-3-small", 1536, range(1, 1537)),
    _openai("text-embedding-3-large", 3072, range(1, 3073)),
    _openai("text-embedding-ada-002", 1536),
    _gemini("gemini-embedding-001", tokens=2048),
    _gemini("gemini-embedding-2", tokens=8192),
    _vertex("text-embedding-005"),
    _vertex("text-multilingual-embedding-002"),
    _bedrock("amazon.titan-embed-text-v1", 1536, tokens=8192, unit=False),
    _bedrock(
        "amazon.titan-embed-text-v2:0", 1024, tokens=8192, choices=(256, 512, 1024), unit=True
    ),
    _bedrock("amazon.titan-embed-image-v1", 1024, tokens=128, choices=(256, 384, 1024)),
    _bedrock(
        "amazon.nova-2-multimodal-embeddings-v1:0",
        3072,
        tokens=8192,
        choices=(256, 384, 1024, 3072),
    ),
    _bedrock("cohere.embed-english-v3", 1024, tokens=512, texts=96),
    _bedrock("cohere.embed-multilingual-v3", 1024, tokens=512, texts=96),
    _bedrock("cohere.embed-v4:0", 1536, tokens=128_000, texts=96, choices=_COHERE_V4),
    _cohere("embed-v4.0", 1536, tokens=128_000, choices=_COHERE_V4),
    _cohere("embed-multilingual-v3.0", 1024),
    _cohere("embed-multilingual-light-v3.0", 384),
    _cohere("embed-english-v3.0", 1024),
    _cohere("embed-english-light-v3.0", 384),
    _voyage("voyage-4-large"),
    _voyage("voyage-4", request=320_000),
    _voyage("voyage-4-lite", request=1_000_000),
    _voyage("voyage-3-large"),
    _voyage("voyage-3.5", request=320_000),
    _voyage("voyage-3.5-lite", request=1_000_000),
    _voyage("voyage-code-3"),
    _voyage("voyage-finance-2", choices=()),
    _voyage("voyage-law-2", tokens=16_000, choices=()),
)
"""Every model that is listed, by provider."""

_BY_NAME = {(known.provider, known.model): known for known in KNOWN}
