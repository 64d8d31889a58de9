"""Embeddings from Voyage AI."""

from collections.abc import Mapping, Sequence

from search_app.embedders.base import Limits
from search_app.embedders.hosted.address import endpoint_of
from search_app.embedders.hosted.embedder import Hosted, HostedEmbedder
from search_app.embedders.hosted.http import JsonClient, package_version, require_package
from search_app.embedders.hosted.request import Request, Service
from search_app.embedders.hosted.transport import Plan
from search_app.embedders.hosted.vectors import Reply, by_index, list_in, payload_of
from search_app.embedders.known import check_dimensions, find
from search_app.errors import ConfigurationError
from search_app.types import JSON, Kind

PROVIDER = "voyage"

MOST_TEXTS = 1000
"""Texts that a request may have."""

REQUEST_TOKENS = 120_000
"""Tokens that a request may have to any of its models; several take more."""

SERVICE = Service(
    url="https://api.voyageai.com/v1",
    example="https://api.voyageai.com/v1",
    key_setting="UNMOVED_VOYAGE_API_KEY",
    address_setting="UNMOVED_VOYAGE_BASE_URL",
    batch_setting="UNMOVED_VOYAGE_BATCH_SIZE",
    hints={
        400: "check the model's name; UNMOVED_VOYAGE_BATCH_SIZE makes smaller requests",
        401: "check UNMOVED_VOYAGE_API_KEY",
        403: "check what UNMOVED_VOYAGE_API_KEY may use",
        404: "check UNMOVED_VOYAGE_BASE_URL, which ends in /v1",
        405: "check UNMOVED_VOYAGE_BASE_URL, which ends in /v1",
    },
)

INPUT_TYPES: Mapping[Kind, str | None] = {
    "query": "query",
    "document": "document",
    "clustering": None,
    "classification": None,
    "similarity": None,
    "code": "query",
    "bare": None,
}
"""What each kind is to Voyage, which puts a prompt of its own before queries and documents."""


class VoyageEmbedder(HostedEmbedder[JsonClient]):
    """Asks Voyage AI, or a server that speaks its API, for float32 vectors in base64.

    A text that is too long is refused by the provider, not cut. Which prompt the provider puts
    before a text follows from its kind; ``text_sent`` is the text without it.

    Args:
        model: the model's name, e.g. ``voyage-3.5``.
        api_key: sent as a bearer token; Voyage's own address needs one.
        base_url: address of the API, ending in ``/v1``; None is Voyage's own.
        dimensions: how many to ask for; None leaves it to the model.
        batch_size: most texts in one request, up to 1,000.
        plan: how hard to try.

    Raises:
        ConfigurationError: the package httpx2 is missing, or an argument cannot be meant.
    """

    unit = True
    not_guaranteed = (
        "Voyage promises no equal vectors for equal texts, and says nothing of the versions behind "
        "a name. It counts tokens by tokenizers of its own, which are not here."
    )

    def __init__(
        self,
        *,
        model: str,
        api_key: str | None = None,
        base_url: str | None = None,
        dimensions: int | None = None,
        batch_size: int = 128,
        plan: Plan = Plan(),  # noqa: B008 - frozen
    ) -> None:
        require_package(PROVIDER)
        model = model.strip()
        if not model:
            raise ConfigurationError(
                "the embedder names no model: write voyage:MODEL, for example voyage:voyage-3.5"
            )
        check_dimensions(PROVIDER, model, dimensions)
        self._endpoint = endpoint_of(SERVICE, base_url, api_key)
        hosted = Hosted(
            provider=PROVIDER,
            model=model,
            host=self._endpoint.host,
            service=SERVICE,
            secrets=self._endpoint.secrets,
            dimensions=dimensions,
            settings={"base_url": self._endpoint.url},
            libraries={"httpx2": package_version()},
        )
        super().__init__(hosted, plan)
        self.batch_size = min(batch_size, MOST_TEXTS)
        known = find(PROVIDER, model)
        self.limits = known.limits if known else Limits(request_tokens=REQUEST_TOKENS)

    def _connect(self) -> JsonClient:
        return JsonClient(self._endpoint, self._transport.plan.timeout_s, SERVICE.address_setting)

    async def _disconnect(self, client: JsonClient) -> None:
        await client.aclose()

    async def _call(self, request: Request, texts: Sequence[str], kind: Kind) -> Reply:
        body = await self.client.post("/embeddings", self._payload(texts, kind))
        payload = payload_of(body, request)
        model, usage = payload.get("model"), payload.get("usage")
        tokens = usage.get("total_tokens") if isinstance(usage, dict) else None
        return Reply(
            vectors=by_index(list_in(payload, "data", request), request),
            model=model if isinstance(model, str) else "",
            tokens=tokens if isinstance(tokens, int) else None,
        )

    def _payload(self, texts: Sequence[str], kind: Kind) -> dict[str, JSON]:
        return {
            "model": self._hosted.model,
            "input": list(texts),
            "input_type": INPUT_TYPES[kind],
            "truncation": False,
            "encoding_format": "base64",
            "output_dimension": self._hosted.dimensions,
            "output_dtype": None,
        }
