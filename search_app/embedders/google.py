"""Embeddings from Google: the Gemini API with a key, or Vertex AI with a project."""

import importlib.util
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from typing import TYPE_CHECKING

from pydantic import SecretStr

from search_app.embedders.base import Limits
from search_app.embedders.google_connection import Account, Connection
from search_app.embedders.google_methods import (
    INSTRUCTIONS,
    TASKS,
    Predict,
    content,
    given,
    is_unit,
    method_of,
    takes_instructions,
    text_limit,
)
from search_app.embedders.hosted.address import endpoint_of
from search_app.embedders.hosted.bounded import largest_answer
from search_app.embedders.hosted.embedder import Hosted, HostedEmbedder
from search_app.embedders.hosted.failure import CallFailedError
from search_app.embedders.hosted.request import Request, Service
from search_app.embedders.hosted.transport import Plan
from search_app.embedders.hosted.vectors import Reply, in_order, payload_of
from search_app.embedders.known import check_dimensions
from search_app.errors import ConfigurationError
from search_app.types import JSON, Kind

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

PROVIDER = "google"

_PROJECT = re.compile(r"[a-z0-9][a-z0-9.:-]*")
_LOCATION = re.compile(r"[a-z][a-z0-9-]*")
_MODEL = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)

GEMINI = Service(
    url="https://generativelanguage.googleapis.com",
    example="https://generativelanguage.googleapis.com",
    key_setting="UNMOVED_GOOGLE_API_KEY",
    address_setting="UNMOVED_GOOGLE_BASE_URL",
    batch_setting="UNMOVED_GOOGLE_BATCH_SIZE",
    hints={
        401: "check UNMOVED_GOOGLE_API_KEY",
        403: "check what UNMOVED_GOOGLE_API_KEY may use",
        404: "check the model's name, and UNMOVED_GOOGLE_BASE_URL where it is set",
    },
)

VERTEX = Service(
    example="https://europe-west1-aiplatform.googleapis.com",
    key_setting="UNMOVED_GOOGLE_API_KEY",
    address_setting="UNMOVED_GOOGLE_LOCATION",
    batch_setting="UNMOVED_GOOGLE_BATCH_SIZE",
    hints={
        400: "UNMOVED_GOOGLE_BATCH_SIZE makes smaller requests",
        401: "renew the application default credentials",
        403: "allow the account of the application default credentials to use Vertex AI in the "
        "project UNMOVED_GOOGLE_PROJECT, and enable its API there",
        404: "check the model's name, and that UNMOVED_GOOGLE_LOCATION offers it",
    },
)


class GoogleEmbedder(HostedEmbedder[Connection]):
    """Asks the Gemini API, or Vertex AI where a project is given.

    Vertex AI is told to refuse a text that is too long. The Gemini API cuts it without a word, so
    there a text that could be too long is counted first, by the API. Models of the second family
    take their task in words before the text; others as a task type beside it, which is no part of
    ``text_sent``.

    Args:
        model: the model's name, e.g. ``gemini-embedding-001``.
        api_key: of the Gemini API.
        project: of Google Cloud, for Vertex AI.
        location: of Vertex AI.
        base_url: another address of the API, e.g. of a gateway.
        dimensions: how many to ask for; None leaves it to the model. Fewer are the first of all;
            ``gemini-embedding-001`` does not bring those back to length 1.
        batch_size: most texts in one request, where the model takes so many.
        credentials: what Vertex AI is asked with; None finds the application default credentials.
        plan: how hard to try.

    Raises:
        ConfigurationError: the package google-genai is missing, or an argument cannot be meant.
    """

    not_guaranteed = (
        "Google promises no equal vectors for equal texts, and may change what stands behind a "
        "name. It counts tokens by a tokenizer of its own, which is not here."
    )

    def __init__(
        self,
        *,
        model: str,
        api_key: str | None = None,
        project: str | None = None,
        location: str = "global",
        base_url: str | None = None,
        dimensions: int | None = None,
        batch_size: int = 64,
        credentials: "Credentials | None" = None,
        plan: Plan = Plan(),  # noqa: B008 - frozen
    ) -> None:
        _require_package()
        model = _model_name(model)
        check_dimensions(PROVIDER, model, dimensions)
        vertex = bool(project)
        service, address = GEMINI, base_url or GEMINI.url
        if vertex:
            _check_vertex(project or "", location, api_key)
            service, address = VERTEX, base_url or _vertex_address(location)
        if vertex and base_url:
            service = replace(VERTEX, address_setting="UNMOVED_GOOGLE_BASE_URL")
        self._account = Account(
            endpoint=endpoint_of(service, address, api_key),
            address_setting=service.address_setting,
            project=project or None,
            location=location if vertex else None,
            credentials=credentials,
        )
        self._method = method_of(model, vertex=vertex)
        self._tasks = {} if takes_instructions(model) else TASKS
        # A list, so that the passing key of Vertex AI is masked too once there is one.
        self._secrets: list[SecretStr] = list(self._account.endpoint.secrets)
        hosted = Hosted(
            provider=PROVIDER,
            model=model,
            host=self._account.endpoint.host,
            service=service,
            secrets=self._secrets,
            dimensions=dimensions,
            prefixes=INSTRUCTIONS if takes_instructions(model) else {},
            settings=given(
                base_url=self._account.endpoint.url,
                location=self._account.location,
                document_task=self._tasks.get("document"),
                query_task=self._tasks.get("query"),
            ),
            libraries={"google-genai": metadata.version("google-genai")},
        )
        super().__init__(hosted, plan)
        self.batch_size = min(batch_size, self._method.texts)
        several = isinstance(self._method, Predict) and self._method.texts > 1
        self.limits = Limits(
            text_tokens=text_limit(model), request_tokens=20_000 if several else None
        )
        self.unit = is_unit(model, dimensions)

    def tells_code(self) -> bool:
        """Say whether queries for source code have a task of their own, in words or not."""
        return super().tells_code() or self._tasks.get("code") != self._tasks.get("query")

    def _connect(self) -> Connection:
        largest = largest_answer(self.batch_size)
        return Connection(self._account, self._transport.plan.timeout_s, largest)

    async def _disconnect(self, client: Connection) -> None:
        await client.aclose()

    async def _call(self, request: Request, texts: Sequence[str], kind: Kind) -> Reply:
        if self._account.project is None:
            await self._check_lengths(request, texts)
        hosted = self._hosted
        asked = self._method.body(texts, hosted.model, self._tasks.get(kind), hosted.dimensions)
        payload = payload_of(await self._post(self._method.name, asked), request)
        values = self._method.values(payload, request)
        vectors = in_order(values, request)
        for place in self._method.truncated(payload):
            raise _cut_off(f"{request.text(place)} was cut off by the provider")
        return Reply(vectors=vectors, tokens=self._method.tokens(payload))

    async def _post(self, method: str, body: Mapping[str, JSON]) -> bytes:
        connection = self.client
        try:
            return await connection.post(self._hosted.model, method, body)
        except CallFailedError:
            if connection.token:
                self._secrets[:] = [
                    *self._account.endpoint.secrets,
                    SecretStr(connection.token),
                ]
            raise

    async def _check_lengths(self, request: Request, texts: Sequence[str]) -> None:
        limit = self.limits.text_tokens
        for place, text in enumerate(texts):
            # No token is shorter than a byte: most texts need not be counted.
            if limit is None or len(text.encode()) < limit:
                continue
            tokens = await self._count(request, text)
            if tokens > limit:
                problem = f"{request.text(place)} has {tokens:,} tokens, the model reads {limit:,}"
                raise _cut_off(problem)

    async def _count(self, request: Request, text: str) -> int:
        asked = {"contents": [{**content(text), "role": "user"}]}
        payload = payload_of(await self._post("countTokens", asked), request)
        tokens = payload.get("totalTokens")
        if not isinstance(tokens, int):
            raise CallFailedError(reason="the answer of countTokens has no count", refused=True)
        return tokens


def _cut_off(problem: str) -> CallFailedError:
    reason = f"{problem}: it is too long; UNMOVED_CHUNK_TOKENS makes shorter chunks"
    return CallFailedError(reason=reason, refused=True)


def _vertex_address(location: str) -> str:
    match location:
        case "global":
            host = "aiplatform.googleapis.com"
        case "us" | "eu":
            host = f"aiplatform.{location}.rep.googleapis.com"
        case _:
            host = f"{location}-aiplatform.googleapis.com"
    return f"https://{host}"


def _check_vertex(project: str, location: str, api_key: str | None) -> None:
    if not _PROJECT.fullmatch(project):
        raise ConfigurationError(f"UNMOVED_GOOGLE_PROJECT is no project's id: {project!r}")
    if not _LOCATION.fullmatch(location):
        raise ConfigurationError(f"UNMOVED_GOOGLE_LOCATION is no location: {location!r}")
    if (api_key or "").strip():
        raise ConfigurationError(
            "UNMOVED_GOOGLE_PROJECT asks for Vertex AI, UNMOVED_GOOGLE_API_KEY for the Gemini API: "
            "unset one of them"
        )


def _require_package() -> None:
    try:
        there = importlib.util.find_spec("google.genai") is not None
    except (ModuleNotFoundError, ValueError):
        there = False
    if not there:
        raise ConfigurationError(
            "embedders google:MODEL need the package google-genai: install unmoved[google]"
        )


def _model_name(model: str) -> str:
    name = model.strip().removeprefix("models/")
    if not _MODEL.fullmatch(name):
        raise ConfigurationError(
            f"google:{name} names no model: write google:MODEL, "
            "for example google:gemini-embedding-001"
        )
    return name
