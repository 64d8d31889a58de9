"""What every embedder behind a network does alike; an adapter adds one call of its provider."""

import asyncio
import logging
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
from pydantic import SecretStr

from search_app.embedders.base import Embedder
from search_app.embedders.batching import check_request, tokens_of
from search_app.embedders.hosted.request import Request, Service
from search_app.embedders.hosted.traffic import Traffic
from search_app.embedders.hosted.transport import Plan, Transport
from search_app.embedders.hosted.vectors import Reply, check_lengths, none_for, unusable
from search_app.errors import EmbedderResponseError
from search_app.stages import stage
from search_app.types import JSON, Kind, Matrix, ModelIdentity, Vector

log = logging.getLogger(__name__)

PROBE = "dimensions"
"""The text sent to see what the endpoint answers."""

MOST_RESENT = 2
"""How often texts that an answer left out are sent again."""

Client = TypeVar("Client")


@dataclass(frozen=True, kw_only=True)
class Hosted:
    """What a hosted embedder is, as far as the common part needs to know.

    ``host`` and ``settings`` may be shown; ``secrets`` no message may show. ``settings`` are
    whatever else changes vectors; ``libraries`` the versions of packages that had a hand in them.
    """

    provider: str
    model: str
    host: str
    service: Service
    secrets: Sequence[SecretStr] = field(default=(), repr=False)
    dimensions: int | None = None
    prefixes: Mapping[Kind, str] = field(default_factory=dict)
    settings: Mapping[str, JSON] = field(default_factory=dict)
    libraries: Mapping[str, str] = field(default_factory=dict)


class HostedEmbedder(Embedder, Generic[Client]):
    """Checks texts and answers, and sends requests by the transport.

    An adapter gives what it is as ``Hosted``, and implements ``_connect``, ``_disconnect`` and
    ``_call``. One embedder belongs to the event loop that first uses it.
    """

    def __init__(self, hosted: Hosted, plan: Plan) -> None:
        """Take what it is and how hard to try; nothing is sent yet."""
        self.spec = f"{hosted.provider}:{hosted.model}"
        if hosted.dimensions is not None:
            self.spec += f"?dimensions={hosted.dimensions}"
        self.concurrency = plan.concurrency
        self._hosted = hosted
        self._transport = Transport(plan)
        self._dimensions: int | None = None
        self._client: Client | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}(model={self._hosted.model!r}, host={self._hosted.host!r})"

    @abstractmethod
    def _connect(self) -> Client:
        """Make the client, in the loop that will use it."""

    @abstractmethod
    async def _disconnect(self, client: Client) -> None:
        """Release its connections."""

    @abstractmethod
    async def _call(self, request: Request, texts: Sequence[str], kind: Kind) -> Reply:
        """Send one request, once, and read its answer.

        Args:
            request: what errors speak of; ``request.texts`` are without prefix.
            texts: what to send, prefixes included.
            kind: decides the task or input type, where the provider has such.

        Raises:
            CallFailedError: no answer, or one that is no; the transport judges what comes next.
            EmbedderResponseError: an answer that cannot be used.
        """

    async def describe(self) -> ModelIdentity:
        """Send one short text and say what answers now; dimensions are those of the answer.

        Later answers must have them too, also where earlier ones had others: whoever asks again
        wants to know, and judges what changed.

        Raises:
            EmbedderError: the endpoint cannot be reached, refuses, or answers nonsense.
        """
        self._dimensions = None
        vectors, model = await self._ask([PROBE], "document")
        hosted = self._hosted
        settings = dict(hosted.settings)
        if hosted.dimensions is not None:
            settings["dimensions"] = hosted.dimensions
        if model not in ("", hosted.model):
            settings["answered_as"] = model
        return ModelIdentity(
            provider=hosted.provider,
            model=hosted.model,
            revision="",
            dimensions=vectors.shape[1],
            max_tokens=self.limits.text_tokens,
            document_prefix=self.text_sent("", "document"),
            query_prefix=self.text_sent("", "query"),
            settings=settings,
            library_versions=hosted.libraries,
        )

    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        """Embed 1 to ``batch_size`` texts in one request; vectors are returned as received.

        Texts that an answer leaves out are asked for again, without the others.

        Returns:
            (n, d) float32, row i belongs to ``texts[i]``.

        Raises:
            ValueError: no texts, too many, an empty one, or one that UTF-8 cannot carry.
            EmbedderUnavailableError: no answer after the retries.
            EmbedderRefusedError: the endpoint says no.
            EmbedderResponseError: an answer that cannot be used, or of other dimensions than
                asked for or than the answers before.
        """
        check_request(texts, self.batch_size)
        for text in texts:
            # A lone surrogate: JSON could escape it, but then another text would be embedded.
            if not text.isascii():
                text.encode()
        return (await self._ask(texts, kind))[0]

    def text_sent(self, text: str, kind: Kind) -> str:
        """Give the text with its prefix, otherwise unchanged."""
        return self._hosted.prefixes.get(kind, "") + text

    async def aclose(self) -> None:
        """Close the connections; again is nothing. Call it in the loop that used the embedder."""
        self._closed = True
        client, self._client = self._client, None
        if client is not None:
            await self._disconnect(client)

    @property
    def traffic(self) -> Traffic:
        """What went over the wire so far."""
        return self._transport.traffic

    @property
    def client(self) -> Client:
        """The client, made at first use.

        Raises:
            RuntimeError: the embedder is closed, or belongs to another event loop.
        """
        if self._closed:
            raise RuntimeError(f"{self!r} is closed")
        loop = asyncio.get_running_loop()
        if self._client is None:
            self._client, self._loop = self._connect(), loop
        if self._loop is not loop:
            raise RuntimeError(f"{self!r} belongs to another event loop; make one for this loop")
        return self._client

    async def _ask(self, texts: Sequence[str], kind: Kind) -> tuple[Matrix, str]:
        """Give vectors (n, d) and the name the server gives its model."""
        request = self._request(texts)
        reply = await self._sent(request, kind)
        found = list(reply.vectors)
        for _ in range(MOST_RESENT):
            missing = [index for index, vector in enumerate(found) if vector is None]
            if not missing or len(missing) == len(found):
                break
            log.info("%s: %d of %d texts sent again", self.spec, len(missing), len(found))
            again = await self._sent(self._request([texts[index] for index in missing]), kind)
            for index, vector in zip(missing, again.vectors, strict=True):
                found[index] = vector
        check_lengths(found, request)
        vectors = np.stack(_complete(found, request))
        self._check_dimensions(vectors.shape[1], request)
        self.traffic.texts += len(vectors)
        return vectors, reply.model

    async def _sent(self, request: Request, kind: Kind) -> Reply:
        sent = [self.text_sent(text, kind) for text in request.texts]
        tokens = self._tokens_of(request.texts, kind)
        with stage("embedder request", provider=self._hosted.provider, texts=len(sent)) as told:
            reply = await self._transport.send(
                request, lambda: self._call(request, sent, kind), tokens=tokens
            )
            if reply.tokens is not None:
                self._transport.counted(reply.tokens, taken=tokens)
                told["tokens"] = reply.tokens
        if len(reply.vectors) != len(sent):
            raise unusable(request, f"{len(reply.vectors)} vectors for {len(sent)} texts")
        return reply

    def _tokens_of(self, texts: Sequence[str], kind: Kind) -> int:
        """Count what a request takes of a limit of tokens, where there is one."""
        if self._transport.plan.tokens_per_minute is None:
            return 0
        return sum(tokens_of(self, text, kind) for text in texts)

    def _request(self, texts: Sequence[str]) -> Request:
        hosted = self._hosted
        return Request(
            spec=self.spec,
            host=hosted.host,
            service=hosted.service,
            texts=texts,
            secrets=hosted.secrets,
        )

    def _check_dimensions(self, found: int, request: Request) -> None:
        asked = self._hosted.dimensions
        if asked not in (None, found):
            setting = request.service.dimensions_setting
            advice = f"; unset {setting}" if setting else ""
            raise EmbedderResponseError(
                request.line(
                    f"asked for {asked} dimensions, got {found}: this model or server does not "
                    f"shorten vectors{advice}"
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


def _complete(found: Sequence[Vector | None], request: Request) -> list[Vector]:
    vectors = [vector for vector in found if vector is not None]
    if len(vectors) < len(found):
        lacking = next(index for index, vector in enumerate(found) if vector is None)
        raise none_for(request, lacking, len(vectors))
    return vectors
