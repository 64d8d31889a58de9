"""Scores over HTTP from any server with a rerank endpoint."""

import asyncio
import importlib.metadata
import json
import math
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import SplitResult, unquote, urlsplit

import numpy as np
from pydantic import SecretStr

from search_app.errors import (
    ConfigurationError,
    RerankerRefusedError,
    RerankerUnavailableError,
)
from search_app.http_exchange import FAILURES, Answer, post, reason
from search_app.rerankers.base import Reranker
from search_app.rerankers.endpoint_answer import Asked, read_scores, words_of
from search_app.types import JSON, Vector

Shape = Literal["documents", "texts"]
"""``documents``: as Cohere and Jina; ``texts``: as text-embeddings-inference."""

MOST_TEXTS: Mapping[Shape, int] = {"documents": 1000, "texts": 32}
"""Texts in one request: what hosted services take, and what the other takes unless told."""

LONGEST_WAIT_S = 5.0
"""A server that asks to wait longer is reported as unavailable: somebody waits for a search."""

PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_MALFORMED = frozenset({400, 422})
_MISSING_FIELD = "texts"
_OK = range(200, 300)
_REDIRECTS = range(300, 400)
_SERVER = 500
_HINTS: Mapping[int, str] = {
    401: "; check UNMOVED_RERANK_API_KEY",
    403: "; check what UNMOVED_RERANK_API_KEY may use",
    404: "; check the model's name, and UNMOVED_RERANK_URL, which mostly ends in /rerank",
    405: "; check UNMOVED_RERANK_URL, which mostly ends in /rerank",
}


class EndpointReranker(Reranker):
    """Asks a rerank endpoint in the form of Cohere and Jina, or of text-embeddings-inference.

    The first form is tried first; a server that misses the other's field gets the other from then
    on. Proxy variables are not looked at.

    Args:
        model: the model's name at the endpoint.
        url: the address that requests go to, mostly ending in ``/rerank``. User name and password
            in it are sent as HTTP basic authentication.
        api_key: sent as a bearer token.
        timeout_s: seconds that one call of ``rerank`` may take, further attempts included.
        max_retries: attempts after the first, where an answer may yet come: no connection, 408,
            425, 429, 5xx.
        retry_wait_s: seconds before the first retry, then doubled; the server's Retry-After comes
            first.

    Raises:
        ConfigurationError: no address, or an argument that cannot be meant.
    """

    def __init__(
        self,
        *,
        model: str,
        url: str | None,
        api_key: str | None = None,
        timeout_s: float = 20.0,
        max_retries: int = 2,
        retry_wait_s: float = 0.25,
    ) -> None:
        self._model = model.strip()
        if not self._model:
            raise ConfigurationError("the reranker names no model: write endpoint:MODEL")
        self._place = _place_of(url, api_key)
        self.spec = f"endpoint:{self._model}"
        self._timeout_s = timeout_s
        self._max_retries = max_retries
        self._retry_wait_s = retry_wait_s
        self._shape: Shape = "documents"

    def __repr__(self) -> str:
        return f"EndpointReranker(model={self._model!r}, host={self._place.host!r})"

    async def rerank(self, query: str, texts: Sequence[str]) -> Vector:
        """Send the texts, in as many requests as the server takes, and put scores to them.

        Returns:
            (n,) float32, score i belongs to ``texts[i]``.

        Raises:
            RerankerUnavailableError: no answer in time, after the retries.
            RerankerRefusedError: the endpoint says no.
            RerankerResponseError: an answer that cannot be used.
        """
        if not texts:
            return np.empty(0, dtype=np.float32)
        asked = Asked(
            spec=self.spec, host=self._place.host, query=query, secrets=self._place.secrets
        )
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._in_parts(asked, texts)
        except TimeoutError as exc:
            problem = f"no answer within {self._timeout_s:g} s; is the server overloaded?"
            raise RerankerUnavailableError(asked.line(problem)) from exc

    async def _in_parts(self, asked: Asked, texts: Sequence[str]) -> Vector:
        scores: list[Vector] = []
        rest = list(texts)
        while rest:
            part = rest[: MOST_TEXTS[self._shape]]
            try:
                answer = await self._ask(asked, part)
            except _WantsTextsError:
                self._shape = "texts"
                continue
            scores.append(read_scores(answer.body, asked, len(part)))
            rest = rest[len(part) :]
        return np.concatenate(scores)

    async def _ask(self, asked: Asked, texts: Sequence[str]) -> Answer:
        """Send one request until it is answered or trying again is useless."""
        for attempt in range(1, self._max_retries + 2):
            wait_s = self._retry_wait_s * 2.0 ** (attempt - 1)
            try:
                answer = await self._post(asked.query, texts)
            except FAILURES as exc:
                if attempt > self._max_retries:
                    raise RerankerUnavailableError(asked.line(_no_answer(exc))) from exc
            else:
                if answer.status in _OK:
                    return answer
                self._check_shape(answer)
                wait_s = _asked_to_wait_s(answer) or wait_s
                may_pass = answer.status in PASSING and wait_s <= LONGEST_WAIT_S
                if attempt > self._max_retries or not may_pass:
                    raise _refusal(answer, asked)
            await asyncio.sleep(wait_s)
        raise AssertionError("the last attempt either returned or raised")

    async def _post(self, query: str, texts: Sequence[str]) -> Answer:
        body: dict[str, JSON]
        if self._shape == "documents":
            body = {"model": self._model, "query": query, "documents": texts, "top_n": len(texts)}
        else:
            # Raw, because a sigmoid makes all good hits 1.0.
            body = {"query": query, "texts": texts, "raw_scores": True, "truncate": True}
        return await post(
            self._place.address,
            json.dumps(body).encode(),
            self._place.headers,
            timeout_s=self._timeout_s,
        )

    def _check_shape(self, answer: Answer) -> None:
        """Notice a server of the other form by the field that it misses."""
        if (
            self._shape == "documents"
            and answer.status in _MALFORMED
            and _MISSING_FIELD in words_of(answer.body)
        ):
            raise _WantsTextsError


class _WantsTextsError(Exception):
    """The server speaks the other form."""


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where requests go. ``host`` may be shown, everything else is secret."""

    address: SplitResult
    host: str
    headers: Mapping[str, str]
    secrets: Sequence[SecretStr]


def _place_of(url: str | None, api_key: str | None) -> _Place:
    if not url or not url.strip():
        raise ConfigurationError(
            "rerankers endpoint:MODEL need an address: set UNMOVED_RERANK_URL, for example to "
            "http://localhost:8080/rerank"
        )
    address = _address(url.strip())
    key, login = _key(api_key), _login(address)
    if key and login:
        raise ConfigurationError(
            "UNMOVED_RERANK_URL holds a user name and UNMOVED_RERANK_API_KEY is set: "
            "a request carries only one of them; remove the other"
        )
    headers = {
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "Connection": "close",
        "Content-Type": "application/json",
        "User-Agent": f"Unmoved/{importlib.metadata.version('unmoved')}",
    }
    if key:
        headers["Authorization"] = f"Bearer {key}"
    if login:
        headers["Authorization"] = f"Basic {b64encode(login.encode()).decode()}"
    password = login.partition(":")[2]
    host = address.netloc.rpartition("@")[2]
    return _Place(
        address=address._replace(netloc=host),
        host=host,
        headers=headers,
        secrets=[SecretStr(secret) for secret in (key, password) if secret],
    )


def _address(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        # Raises ValueError for a name that no resolver takes (a..b) and for a port out of range.
        (parts.hostname or "").encode("idna")
        usable = (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and parts.port != 0
            and not parts.fragment
            and url.isascii()
            and url.isprintable()
            and " " not in url
        )
    except ValueError:
        usable = False
    if not usable:
        # Neither this nor its cause repeats the address: it may hold a password, or a key.
        raise ConfigurationError(
            "UNMOVED_RERANK_URL must be an address like http://localhost:8080/rerank"
        ) from None
    return parts


def _login(address: SplitResult) -> str:
    if address.username is None:
        return ""
    return f"{unquote(address.username)}:{unquote(address.password or '')}"


def _key(api_key: str | None) -> str:
    key = (api_key or "").strip()
    # The HTTP library would refuse such a header with an error that repeats it.
    if not (key.isascii() and key.isprintable()):
        raise ConfigurationError(
            "UNMOVED_RERANK_API_KEY holds characters that no key has: copy it again"
        )
    return key


def _no_answer(exc: Exception) -> str:
    return f"no answer: {reason(exc)}; is it running, and is UNMOVED_RERANK_URL right?"


def _refusal(answer: Answer, asked: Asked) -> RerankerRefusedError | RerankerUnavailableError:
    words = asked.shortened(words_of(answer.body)) or "no reason given"
    if answer.status in _REDIRECTS:
        words = "a redirect, which is not followed; set UNMOVED_RERANK_URL to where it leads"
    line = asked.line(f"HTTP {answer.status}: {words}{_HINTS.get(answer.status, '')}")
    passing = answer.status in PASSING or answer.status >= _SERVER
    return RerankerUnavailableError(line) if passing else RerankerRefusedError(line)


def _asked_to_wait_s(answer: Answer) -> float | None:
    try:
        seconds = float(answer.headers.get("retry-after", ""))
    except ValueError:
        return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None
