"""Embeddings over HTTP from OpenAI, or from any server that speaks its API."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from search_app.embedders.hosted.address import CONNECT_S, Endpoint, endpoint_of
from search_app.embedders.hosted.embedder import Hosted, HostedEmbedder
from search_app.embedders.hosted.failure import CallFailedError
from search_app.embedders.hosted.request import Request, Service
from search_app.embedders.hosted.transport import Plan
from search_app.embedders.hosted.vectors import Reply, by_index, list_in, payload_of
from search_app.errors import (
    ConfigurationError,
    EmbedderError,
    EmbedderRefusedError,
    EmbedderResponseError,
    EmbedderUnavailableError,
)
from search_app.types import Kind

if TYPE_CHECKING:
    from openai import AsyncOpenAI

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
        model: the model's name at the endpoint.
        base_url: address of the API, usually ending in ``/v1``; None is OpenAI's own. User name
            and password in it are sent as HTTP basic authentication.
        api_key: sent as a bearer token; OpenAI's own address needs one.
        dimensions: how many to ask for; None leaves it to the model.
        encoding: how vectors travel; base64 is a quarter of the bytes and exact.
        batch_size: most texts in one request.
        document_prefix: put before every document.
        query_prefix: put before every query.
        plan: how hard to try.

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
        plan: Plan = Plan(),  # noqa: B008 - frozen
    ) -> None:
        _require_package()
        model = _model_name(model)
        self._endpoint = endpoint_of(SERVICE, base_url, api_key)
        hosted = Hosted(
            provider="openai",
            model=model,
            host=self._endpoint.host,
            service=SERVICE,
            secrets=self._endpoint.secrets,
            dimensions=dimensions,
            prefixes={"document": document_prefix, "query": query_prefix},
            settings={"base_url": self._endpoint.url},
            libraries={"openai": _package_version()},
        )
        super().__init__(hosted, plan)
        self.batch_size = batch_size
        self._encoding = encoding

    def __repr__(self) -> str:
        return f"OpenAIEmbedder(model={self._hosted.model!r}, base_url={self._endpoint.url!r})"

    def _connect(self) -> "AsyncOpenAI":
        return connect(self._endpoint, self._transport.plan.timeout_s)

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
        )

    async def _post(self, texts: Sequence[str]) -> bytes:
        # The raw body, because the client's parsing believes any answer: it accepts duplicate
        # indexes and strings for numbers, and hands out text where JSON was promised.
        import openai

        asked = self._hosted.dimensions
        try:
            response = await self.client.embeddings.with_raw_response.create(
                model=self._hosted.model,
                input=list(texts),
                encoding_format=self._encoding,
                dimensions=openai.omit if asked is None else asked,
            )
        except openai.OpenAIError as exc:
            raise failed(exc) from exc
        return response.http_response.content


def connect(endpoint: Endpoint, timeout_s: float) -> "AsyncOpenAI":
    """Make the official client, with nothing of the ``OPENAI_*`` variables in it.

    It belongs to the event loop of its first request, never retries and follows no redirect:
    texts and key go to the address that was configured and to no other. Its own retries would wait
    up to two minutes each, and its time-out starts anew with every byte.
    """
    import openai

    login = endpoint.login
    client = openai.AsyncOpenAI(
        api_key=endpoint.key.get_secret_value() if endpoint.key else NO_KEY,
        base_url=endpoint.url,
        max_retries=0,
        http_client=openai.DefaultAsyncHttpxClient(
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


def failed(exc: Exception) -> CallFailedError:
    """Say what an exception of the openai package is, in the terms of all providers."""
    response = getattr(exc, "response", None)
    cause = exc.__cause__ or exc
    timed_out = type(exc).__name__ == "APITimeoutError"
    status = getattr(exc, "status_code", None)
    meaning = next(MEANINGS[cls.__name__] for cls in type(exc).__mro__ if cls.__name__ in MEANINGS)
    return CallFailedError(
        status=status,
        body=getattr(exc, "body", None),
        headers={} if response is None else response.headers,
        reason=f"{type(cause).__name__}: {cause}".rstrip(": "),
        timed_out=timed_out,
        # The status says more than the class.
        refused=None if status is not None else meaning is EmbedderRefusedError,
    )


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
