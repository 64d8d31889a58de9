"""Embeddings from Cohere, over its API version 2."""

from collections.abc import Mapping, Sequence

from search_app.embedders.base import Limits
from search_app.embedders.hosted.address import endpoint_of
from search_app.embedders.hosted.embedder import Hosted, HostedEmbedder
from search_app.embedders.hosted.http import JsonClient, package_version, require_package
from search_app.embedders.hosted.request import Request, Service
from search_app.embedders.hosted.transport import Plan
from search_app.embedders.hosted.vectors import (
    Reply,
    count_of,
    in_order,
    list_in,
    payload_of,
    unusable,
)
from search_app.embedders.known import check_dimensions, find
from search_app.errors import ConfigurationError
from search_app.types import JSON, Kind

PROVIDER = "cohere"

MOST_TEXTS = 96
"""Texts that a request may have."""

SERVICE = Service(
    url="https://api.cohere.com",
    example="https://api.cohere.com",
    key_setting="UNMOVED_COHERE_API_KEY",
    address_setting="UNMOVED_COHERE_BASE_URL",
    batch_setting="UNMOVED_COHERE_BATCH_SIZE",
    hints={
        401: "check UNMOVED_COHERE_API_KEY",
        403: "check what UNMOVED_COHERE_API_KEY may use",
        404: "check the model's name, and UNMOVED_COHERE_BASE_URL, which has no version at its end",
        405: "check UNMOVED_COHERE_BASE_URL",
    },
)

INPUT_TYPES: Mapping[Kind, str] = {
    "query": "search_query",
    "document": "search_document",
    "clustering": "clustering",
    "classification": "classification",
    # The only type that treats both sides alike and trains no classes.
    "similarity": "clustering",
    "code": "search_query",
    # Models since version 3 insist on one.
    "bare": "search_document",
}
"""What each kind is to Cohere."""


class CohereEmbedder(HostedEmbedder[JsonClient]):
    """Asks Cohere, or a server that speaks its API, for float vectors.

    A text that is too long is refused by the provider, not cut. Which of its input types a text is
    sent with follows from its kind; they are no prefixes, so that ``text_sent`` is the text.

    Args:
        model: the model's name, e.g. ``embed-v4.0``.
        api_key: sent as a bearer token; Cohere's own address needs one.
        base_url: address of the API without version; None is Cohere's own.
        dimensions: how many to ask for; None leaves it to the model.
        batch_size: most texts in one request, up to 96.
        plan: how hard to try.

    Raises:
        ConfigurationError: the package httpx2 is missing, or an argument cannot be meant.
    """

    not_guaranteed = (
        "Cohere promises no equal vectors for equal texts; two recorded answers to one query "
        "differ by 1 - cos 3e-4. It counts tokens by tokenizers of its own, which are not here."
    )

    def __init__(
        self,
        *,
        model: str,
        api_key: str | None = None,
        base_url: str | None = None,
        dimensions: int | None = None,
        batch_size: int = MOST_TEXTS,
        plan: Plan = Plan(),  # noqa: B008 - frozen
    ) -> None:
        require_package(PROVIDER)
        model = model.strip()
        if not model:
            raise ConfigurationError(
                "the embedder names no model: write cohere:MODEL, for example cohere:embed-v4.0"
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
        self.limits = known.limits if known else Limits()

    def _connect(self) -> JsonClient:
        return JsonClient(self._endpoint, self._transport.plan.timeout_s, SERVICE.address_setting)

    async def _disconnect(self, client: JsonClient) -> None:
        await client.aclose()

    async def _call(self, request: Request, texts: Sequence[str], kind: Kind) -> Reply:
        body = await self.client.post("/v2/embed", self._payload(texts, kind))
        payload = payload_of(body, request)
        vectors = payload.get("embeddings")
        if not isinstance(vectors, dict):
            # Says what is there instead, an error sent as a success among others.
            list_in(payload, "embeddings", request)
            raise unusable(request, "the answer's 'embeddings' are not told apart by type")
        return Reply(
            vectors=in_order(list_in(vectors, "float", request), request),
            tokens=_tokens(payload),
        )

    def _payload(self, texts: Sequence[str], kind: Kind) -> dict[str, JSON]:
        return {
            "model": self._hosted.model,
            "input_type": INPUT_TYPES[kind],
            "texts": list(texts),
            "embedding_types": ["float"],
            "output_dimension": self._hosted.dimensions,
            "max_tokens": None,
            "truncate": "NONE",
        }


def _tokens(payload: Mapping[str, JSON]) -> int | None:
    meta = payload.get("meta")
    billed = meta.get("billed_units") if isinstance(meta, dict) else None
    tokens = billed.get("input_tokens") if isinstance(billed, dict) else None
    return count_of(tokens)
