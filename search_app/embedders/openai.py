"""Embeddings over HTTP from OpenAI, or from any server that speaks its API."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote, urlsplit

from search_app.embedders.base import Limits
from search_app.embedders.hosted.address import CONNECT_S, Endpoint, endpoint_of
from search_app.embedders.hosted.bounded import bounded, largest_answer, too_large
from search_app.embedders.hosted.embedder import Hosted, HostedEmbedder
from search_app.embedders.hosted.failure import CallFailedError
from search_app.embedders.hosted.http import LARGEST_ANSWER
from search_app.embedders.hosted.network import proxy_variable, tls_problem
from search_app.embedders.hosted.request import Request, Service
from search_app.embedders.hosted.transport import Plan
from search_app.embedders.hosted.vectors import Reply, by_index, list_in, payload_of
from search_app.embedders.known import check_dimensions, find
from search_app.embedders.openai_tokens import count_tokens
from search_app.errors import (
    ConfigurationError,
    EmbedderError,
    EmbedderRefusedError,
    EmbedderResponseError,
    EmbedderUnavailableError,
)
from search_app.types import JSON, Kind

if TYPE_CHECKING:
    from openai import AsyncOpenAI, Omit
    from openai._types import RequestOptions

_ENDS = "which for most servers ends in /v1"

SERVICE = Service(
    url="https://api.openai.com/v1",
    key_setting="UNMOVED_OPENAI_API_KEY",
    address_setting="UNMOVED_OPENAI_BASE_URL",
    dimensions_setting="UNMOVED_OPENAI_DIMENSIONS",
    batch_setting="UNMOVED_OPENAI_BATCH_SIZE",
    hints={
        401: "check UNMOVED_OPENAI_API_KEY",
        403: "check what UNMOVED_OPENAI_API_KEY may use",
        404: f"check the model's name, and UNMOVED_OPENAI_BASE_URL, {_ENDS}",
        405: f"check UNMOVED_OPENAI_BASE_URL, {_ENDS}",
    },
)

AZURE = (".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com")
"""How the names of hosts end at Azure."""

_PROXY_WANTS_A_LOGIN = 407

NO_KEY = "no-key"
"""Sent where no key is set: the client insists on one, and local servers ignore it."""

MEANINGS: Mapping[str, type[EmbedderError]] = {
    "APIConnectionError": EmbedderUnavailableError,
    "APITimeoutError": EmbedderUnavailableError,
    "ConflictError": EmbedderUnavailableError,
    "InternalServerError": EmbedderUnavailableError,
    "RateLimitError": EmbedderUnavailableError,
    "APIStatusError": EmbedderRefusedError,
    "AuthenticationError": EmbedderRefusedError,
    "BadRequestError": EmbedderRefusedError,
    "NotFoundError": EmbedderRefusedError,
    "OAuthError": EmbedderRefusedError,
    "PermissionDeniedError": EmbedderRefusedError,
    "UnprocessableEntityError": EmbedderRefusedError,
    "APIResponseValidationError": EmbedderResponseError,
    # Raised by other parts of the package, or bases that only a class unknown here would fall back
    # to. Named one by one, so that a test notices a class that a new release brings.
    "APIError": EmbedderRefusedError,
    "ContentFilterFinishReasonError": EmbedderRefusedError,
    "LengthFinishReasonError": EmbedderResponseError,
    "OpenAIError": EmbedderRefusedError,
    "SubjectTokenProviderError": EmbedderRefusedError,
    "WebSocketConnectionClosedError": EmbedderUnavailableError,
    "WebSocketQueueFullError": EmbedderUnavailableError,
    "_AmbiguousModuleClientUsageError": EmbedderRefusedError,
}
"""What each exception of the openai package is to us, by the name of its class."""


class OpenAIEmbedder(HostedEmbedder["AsyncOpenAI"]):
    """Asks an OpenAI-compatible endpoint, with the official client underneath.

    Everything is an argument: the ``OPENAI_*`` variables that the client reads by itself are kept
    out, so that what is recorded is what was asked. The usual proxy variables are honoured.

    Args:
        model: the model's name at the endpoint; at Azure that of the deployment.
        base_url: address of the API, usually ending in ``/v1``; None is OpenAI's own. User name
            and password in it are sent as HTTP basic authentication.
        api_key: sent as a bearer token, to Azure as ``api-key``; OpenAI's own address needs one.
        api_version: of Azure's older API, which has each deployment at an address of its own;
            ``base_url`` is then that of the resource.
        dimensions: how many to ask for; None leaves it to the model.
        encoding: how vectors travel; base64 is a quarter of the bytes and exact.
        batch_size: most texts in one request.
        document_prefix: put before every document.
        query_prefix: put before every query.
        plan: how hard to try.
        ranks: the file by which tokens of OpenAI's own models are counted.

    Raises:
        ConfigurationError: the package ``openai`` is missing, or an argument cannot be meant.
    """

    not_guaranteed = (
        "OpenAI promises no equal vectors for equal texts: they are seen to differ in their last "
        "digits, and more so between encodings. Of other servers, ingest models probe tells more."
    )

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
        plan: Plan = Plan(),  # noqa: B008 - frozen
        api_version: str | None = None,
        ranks: Path | None = None,
    ) -> None:
        _require_package()
        model = _model_name(model)
        if api_version:
            base_url = _deployment(base_url, model)
        self._endpoint = endpoint_of(SERVICE, base_url, api_key)
        self._api_version = api_version
        self._azure = bool(api_version) or _hostname(self._endpoint.url).endswith(AZURE)
        # A model of the same name elsewhere is another one, or has other limits.
        own = self._azure or _hostname(self._endpoint.url) == _hostname(SERVICE.url)
        known = find("openai", model) if own else None
        if known is not None:
            check_dimensions("openai", model, dimensions)
        hosted = Hosted(
            provider="openai",
            model=model,
            host=self._endpoint.host,
            service=SERVICE,
            secrets=self._endpoint.secrets,
            dimensions=dimensions,
            prefixes={
                "document": document_prefix,
                "query": query_prefix,
                # Who asks for source code asks.
                "code": query_prefix,
            },
            settings={"base_url": self._endpoint.url},
            libraries={"openai": _package_version()},
        )
        super().__init__(hosted, plan)
        self.batch_size = batch_size
        self.limits = known.limits if known else Limits()
        self.unit = known.unit if known else None
        self._ranks = ranks if known else None
        self._encoding = encoding

    def __repr__(self) -> str:
        return f"OpenAIEmbedder(model={self._hosted.model!r}, base_url={self._endpoint.url!r})"

    def count_tokens(self, text: str, kind: Kind) -> int | None:
        """Count as OpenAI does, where the file for it is at hand and the model is OpenAI's."""
        if self._ranks is None:
            return None
        return count_tokens(self.text_sent(text, kind), self._ranks)

    def _connect(self) -> "AsyncOpenAI":
        largest = largest_answer(self.batch_size)
        return connect(self._endpoint, self._transport.plan.timeout_s, largest=largest)

    async def _disconnect(self, client: "AsyncOpenAI") -> None:
        await client.close()

    async def _call(self, request: Request, texts: Sequence[str], kind: Kind) -> Reply:
        # Both encodings are read whichever was asked for, because servers ignore it.
        del kind
        payload = payload_of(await self._post(texts), request)
        model = payload.get("model")
        return Reply(
            vectors=by_index(list_in(payload, "data", request), request),
            model=model if isinstance(model, str) else "",
            tokens=_tokens(payload.get("usage")),
        )

    async def _post(self, texts: Sequence[str]) -> bytes:
        # The raw body, because the client's parsing believes any answer: it accepts duplicate
        # indexes and strings for numbers, and hands out text where JSON was promised. And by the
        # client's general way to post, since its own for embeddings looks at every text in turn.
        import httpx2
        import openai

        body: dict[str, object] = {
            "model": self._hosted.model,
            "input": list(texts),
            "encoding_format": self._encoding,
        }
        if self._hosted.dimensions is not None:
            body["dimensions"] = self._hosted.dimensions
        options: RequestOptions = {"headers": self._azure_headers()}
        if self._api_version:
            options["params"] = {"api-version": self._api_version}
        try:
            response = await self.client.post(
                "/embeddings", cast_to=httpx2.Response, body=body, options=options
            )
        except openai.OpenAIError as exc:
            raise failed(exc, self._endpoint.url) from exc
        return response.content

    def _azure_headers(self) -> Mapping[str, "str | Omit"]:
        import openai

        key = self._endpoint.key
        if not self._azure or key is None:
            return {}
        return {"api-key": key.get_secret_value(), "Authorization": openai.omit}


def connect(
    endpoint: Endpoint, timeout_s: float, *, largest: int = LARGEST_ANSWER
) -> "AsyncOpenAI":
    """Make the official client, with nothing of the ``OPENAI_*`` variables in it.

    It belongs to the event loop of its first request, never retries and follows no redirect:
    texts and key go to the address that was configured and to no other. Its own retries would wait
    up to two minutes each, and its time-out starts anew with every byte. An answer of more than
    ``largest`` bytes is none.
    """
    import openai

    login = endpoint.login
    client = openai.AsyncOpenAI(
        api_key=endpoint.key.get_secret_value() if endpoint.key else NO_KEY,
        base_url=endpoint.url,
        max_retries=0,
        http_client=bounded(openai.DefaultAsyncHttpxClient, largest)(
            timeout=openai.Timeout(timeout_s, connect=min(timeout_s, CONNECT_S)),
            auth=(login[0], login[1].get_secret_value()) if login else None,
            follow_redirects=False,
        ),
    )
    # What OPENAI_ORG_ID, OPENAI_PROJECT_ID, OPENAI_ADMIN_KEY, OPENAI_WEBHOOK_SECRET and
    # OPENAI_CUSTOM_HEADERS put there; an empty argument would send an empty header.
    client.organization = client.project = None
    client.admin_api_key = client.webhook_secret = None
    client._custom_headers = {}  # noqa: SLF001 - no argument keeps that variable out
    return client


def failed(exc: Exception, url: str = "") -> CallFailedError:
    """Say what an exception of the openai package is, in the terms of all providers.

    ``url`` is the address that was asked.
    """
    response = getattr(exc, "response", None)
    cause = exc.__cause__ or exc
    timed_out = type(exc).__name__ == "APITimeoutError"
    status = getattr(exc, "status_code", None)
    meaning = next(MEANINGS[cls.__name__] for cls in type(exc).__mro__ if cls.__name__ in MEANINGS)
    if (larger := too_large(exc)) is not None:
        return larger
    tls = tls_problem(exc, SERVICE.address_setting) if status is None else None
    if tls is not None:
        return CallFailedError(reason=tls, refused=True)
    return CallFailedError(
        status=status,
        body=getattr(exc, "body", None),
        headers={} if response is None else response.headers,
        reason=f"{type(cause).__name__}: {cause}".rstrip(": ") + _by_proxy(url),
        timed_out=timed_out,
        # The status says more than the class.
        refused=None if status is not None else meaning is EmbedderRefusedError,
        advice=_of_proxy(url) if status == _PROXY_WANTS_A_LOGIN else "",
    )


def _of_proxy(url: str) -> str:
    variable = proxy_variable(url) or "the proxy"
    return f"that is a proxy's answer: check name and password in {variable}"


def _by_proxy(url: str) -> str:
    variable = proxy_variable(url) if url else ""
    return f", by the proxy that {variable} names" if variable else ""


def _tokens(usage: JSON) -> int | None:
    counted = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return counted if type(counted) is int and counted >= 0 else None


def _hostname(url: str) -> str:
    return urlsplit(url).hostname or ""


def _deployment(base_url: str | None, model: str) -> str:
    """Give the address of a deployment of Azure's older API."""
    if not base_url:
        raise ConfigurationError(
            "UNMOVED_OPENAI_API_VERSION is Azure's: set UNMOVED_OPENAI_BASE_URL to the address of "
            "your resource, like https://NAME.openai.azure.com"
        )
    if "/deployments/" in base_url:
        return base_url
    return f"{base_url.rstrip('/').removesuffix('/openai')}/openai/deployments/{quote(model, '')}"


def _require_package() -> None:
    try:
        import openai  # noqa: F401 - only whether it is there
    except ImportError as exc:
        raise ConfigurationError(
            "embedders openai:MODEL need the package openai: install unmoved[openai]"
        ) from exc


def _package_version() -> str:
    from importlib.metadata import version

    return version("openai")


def _model_name(model: str) -> str:
    if not model.strip():
        raise ConfigurationError(
            "the embedder names no model: write openai:MODEL, "
            "for example openai:text-embedding-3-small"
        )
    return model.strip()
