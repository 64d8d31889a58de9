"""Embeddings over HTTP from OpenAI, or from any server that speaks its API."""

import asyncio
import logging
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from search_app.embedders.base import Embedder
from search_app.embedders.batching import check_request
from search_app.embedders.openai_answer import Answer, read_answer
from search_app.embedders.openai_endpoint import connect, endpoint_of
from search_app.embedders.openai_errors import Request, may_pass, retry_after_s, translate
from search_app.errors import ConfigurationError, EmbedderResponseError
from search_app.types import JSON, Kind, Matrix, ModelIdentity

if TYPE_CHECKING:
    from openai import AsyncOpenAI

log = logging.getLogger(__name__)

LONGEST_BACKOFF_S = 8.0

LONGEST_WAIT_S = 60.0
"""A server that asks to wait longer is reported as unavailable instead of waited for."""

PROBE = "dimensions"
"""The text sent to see what the endpoint answers."""


class OpenAIEmbedder(Embedder):
    """Asks an OpenAI-compatible endpoint, with the official client underneath.

    Everything is an argument: the ``OPENAI_*`` variables that the client reads by itself are kept
    out, so that what is recorded is what was asked. The usual proxy variables are honoured.
    One embedder belongs to the event loop that first uses it.

    Args:
        model: the model's name at the endpoint.
        base_url: address of the API, usually ending in ``/v1``; None is OpenAI's own. User name
            and password in it are sent as HTTP basic authentication.
        api_key: sent as a bearer token; OpenAI's own address needs one.
        dimensions: how many to ask for; None leaves it to the model.
        encoding: how vectors travel; base64 is a quarter of the bytes and exact.
        batch_size: most texts in one request.
        document_prefix: put before every document.
        query_prefix: put before every query.
        concurrency: most requests worth having under way at once.
        timeout_s: seconds that one attempt may take, to its last byte.
        max_retries: attempts after the first, where an answer may yet come: no connection, time
            out, 408, 409, 425, 429, 5xx.
        retry_wait_s: seconds before the first retry, doubled up to 8; the server's Retry-After
            comes first.

    Raises:
        ConfigurationError: the package ``openai`` is missing, or an argument cannot be meant.
    """

    def __init__(
        self,
        *,
        model: str,
        base_url: str | None = None,
        api_key: str | None = None,
        dimensions: int | None = None,
        encoding: Literal["base64", "float"] = "base64",
        batch_size: int = 64,
        document_prefix: str = "",
        query_prefix: str = "",
        concurrency: int = 4,
        timeout_s: float = 60.0,
        max_retries: int = 4,
        retry_wait_s: float = 0.5,
    ) -> None:
        _require_package()
        self._model = _model_name(model)
        self._endpoint = endpoint_of(base_url, api_key)
        self.spec = f"openai:{self._model}"
        self.batch_size = batch_size
        self.concurrency = concurrency
        self._asked_dimensions = dimensions
        self._encoding = encoding
        self._prefixes: dict[Kind, str] = {"document": document_prefix, "query": query_prefix}
        self._timeout_s = timeout_s
        self._max_retries = max_retries
        self._retry_wait_s = retry_wait_s
        self._dimensions: int | None = None
        self._client: AsyncOpenAI | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"OpenAIEmbedder(model={self._model!r}, base_url={self._endpoint.url!r})"

    async def describe(self) -> ModelIdentity:
        """Send one short text and say what answers now; dimensions are those of the answer.

        Later answers must have them too, also where earlier ones had others: whoever asks again
        wants to know, and judges what changed.

        Raises:
            EmbedderError: the endpoint cannot be reached, refuses, or answers nonsense.
        """
        import openai

        self._dimensions = None
        answer = await self._ask([PROBE], "document")
        return ModelIdentity(
            provider="openai",
            model=self._model,
            revision="",
            dimensions=answer.vectors.shape[1],
            max_tokens=None,
            document_prefix=self._prefixes["document"],
            query_prefix=self._prefixes["query"],
            settings=self._settings(answer.model),
            library_versions={"openai": openai.__version__},
        )

    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        """Embed 1 to ``batch_size`` texts in one request; vectors are returned as received.

        Returns:
            (n, d) float32, row i belongs to ``texts[i]``.

        Raises:
            ValueError: no texts, too many, an empty one, or one that UTF-8 cannot carry.
            EmbedderUnavailableError: no answer after the retries.
            EmbedderRefusedError: the endpoint says no.
            EmbedderResponseError: an answer that cannot be used, or of other dimensions than
                asked for or than the answers before.
        """
        self._check_texts(texts)
        return (await self._ask(texts, kind)).vectors

    def text_sent(self, text: str, kind: Kind) -> str:
        """Give the text with its prefix, otherwise unchanged."""
        return self._prefixes.get(kind, "") + text

    async def aclose(self) -> None:
        """Close the connections; again is nothing. Call it in the loop that used the embedder."""
        self._closed = True
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _settings(self, answered_as: str) -> dict[str, JSON]:
        settings: dict[str, JSON] = {"base_url": self._endpoint.url}
        if self._asked_dimensions is not None:
            settings["dimensions"] = self._asked_dimensions
        if answered_as not in ("", self._model):
            settings["answered_as"] = answered_as
        return settings

    def _check_texts(self, texts: Sequence[str]) -> None:
        check_request(texts, self.batch_size)
        for text in texts:
            # A lone surrogate: JSON could escape it, but then another text would be embedded.
            if not text.isascii():
                text.encode()

    async def _ask(self, texts: Sequence[str], kind: Kind) -> Answer:
        request = Request(
            spec=self.spec,
            host=self._endpoint.host,
            texts=texts,
            secrets=self._endpoint.secrets,
        )
        answer = read_answer(await self._body(request, kind), request)
        self._check_dimensions(answer.vectors.shape[1], request)
        return answer

    async def _body(self, request: Request, kind: Kind) -> bytes:
        """Send a request until it is answered or trying again is useless.

        The client's own retries are off: they wait up to two minutes each, and its time-out starts
        anew with every byte, so that a server that trickles would never run out of it.
        """
        import openai

        for attempt in range(1, self._max_retries + 2):
            try:
                async with asyncio.timeout(self._timeout_s):
                    return await self._post([self.text_sent(t, kind) for t in request.texts])
            except (TimeoutError, openai.OpenAIError) as exc:
                wait_s = self._wait_s(exc, attempt)
                if wait_s is None:
                    raise translate(exc, request, attempts=attempt) from exc
                log.info("%s: retry %d in %.1f s", request.spec, attempt, wait_s)
            await asyncio.sleep(wait_s)
        raise AssertionError("the last attempt either returned or raised")

    async def _post(self, texts: list[str]) -> bytes:
        # The raw body, because the client's parsing believes any answer: it accepts duplicate
        # indexes and strings for numbers, and hands out text where JSON was promised.
        import openai

        response = await self._connected().embeddings.with_raw_response.create(
            model=self._model,
            input=texts,
            encoding_format=self._encoding,
            dimensions=openai.omit if self._asked_dimensions is None else self._asked_dimensions,
        )
        return response.http_response.content

    def _wait_s(self, exc: Exception, attempt: int) -> float | None:
        if attempt > self._max_retries or not may_pass(exc):
            return None
        asked_s = retry_after_s(exc)
        if asked_s is not None:
            return asked_s if asked_s <= LONGEST_WAIT_S else None
        backoff_s = min(self._retry_wait_s * 2.0 ** (attempt - 1), LONGEST_BACKOFF_S)
        return backoff_s * random.uniform(0.75, 1.0)  # noqa: S311 - spreads retries, hides nothing

    def _check_dimensions(self, found: int, request: Request) -> None:
        if self._asked_dimensions not in (None, found):
            raise EmbedderResponseError(
                request.line(
                    f"asked for {self._asked_dimensions} dimensions, got {found}: this model or "
                    "server does not shorten vectors; unset UNMOVED_OPENAI_DIMENSIONS"
                )
            )
        if self._dimensions is None:
            self._dimensions = found
        if self._dimensions != found:
            raise EmbedderResponseError(
                request.line(
                    f"dimension changed from {self._dimensions} to {found} in mid-run: another "
                    "model answers now; make sure which one serves this name, then start again"
                )
            )

    def _connected(self) -> "AsyncOpenAI":
        if self._closed:
            raise RuntimeError(f"{self!r} is closed")
        loop = asyncio.get_running_loop()
        if self._client is None:
            self._client, self._loop = connect(self._endpoint, self._timeout_s), loop
        if self._loop is not loop:
            raise RuntimeError(f"{self!r} belongs to another event loop; make one for this loop")
        return self._client


def _require_package() -> None:
    try:
        import openai  # noqa: F401 - only whether it is there
    except ImportError as exc:
        raise ConfigurationError(
            "embedders openai:MODEL need the package openai: install unmoved[openai]"
        ) from exc


def _model_name(model: str) -> str:
    if not model.strip():
        raise ConfigurationError(
            "the embedder names no model: write openai:MODEL, "
            "for example openai:text-embedding-3-small"
        )
    return model.strip()
