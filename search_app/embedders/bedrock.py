"""Embeddings from Amazon Bedrock: models of Titan, Nova and Cohere."""

import asyncio
import importlib.util
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import metadata

from pydantic import SecretStr

from search_app.embedders.base import Limits
from search_app.embedders.bedrock_models import PROVIDER, Options, Purpose, read_name
from search_app.embedders.bedrock_runtime import Account, Runtime
from search_app.embedders.hosted.address import endpoint_of
from search_app.embedders.hosted.embedder import Hosted, HostedEmbedder
from search_app.embedders.hosted.failure import CallFailedError
from search_app.embedders.hosted.request import Request, Service
from search_app.embedders.hosted.transport import Plan
from search_app.embedders.hosted.vectors import Reply, in_order, payload_of
from search_app.embedders.known import check_dimensions, find
from search_app.errors import ConfigurationError
from search_app.types import JSON, Kind

_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]+")
_PLACE = re.compile(r"#/texts/([0-9]+)")

NOT_PROMISED = (
    "AWS promises no equal vectors for equal texts, and counts tokens by tokenizers that are not "
    "here."
)

SERVICE = Service(
    key_setting="UNMOVED_BEDROCK_PROFILE",
    example="https://vpce-0123.bedrock-runtime.us-east-1.vpce.amazonaws.com",
    address_setting="UNMOVED_BEDROCK_REGION",
    batch_setting="UNMOVED_BEDROCK_BATCH_SIZE",
    hints={
        403: "check the AWS credentials and what they may use",
        404: "check the model's name, and that UNMOVED_BEDROCK_REGION offers it",
    },
)


class BedrockEmbedder(HostedEmbedder[Runtime]):
    """Asks a model of Amazon Bedrock, signed in as AWS's own tools are.

    Texts that are too long are refused by the models, not cut. Titan and Nova take one text in a
    request, so that only several requests at once are quick.

    Args:
        model: a model's id, with or without a regional prefix such as ``us.``; the ARN of one or
            of an inference profile; ``MODEL@ARN`` where the ARN does not name the model.
        region: where it is asked; None is what AWS's own settings say.
        profile: of AWS's configuration files; None leaves it to AWS's own settings.
        endpoint_url: another address of the service, e.g. in a private network.
        dimensions: how many to ask for; None leaves it to the model.
        normalize: whether Titan's second version is to answer with vectors of length 1.
        query_purpose: what Nova is told of queries.
        batch_size: most texts in one request, where the model takes several.
        plan: how hard to try.

    Raises:
        ConfigurationError: the package boto3 is missing, or an argument cannot be meant.
    """

    def __init__(
        self,
        *,
        model: str,
        region: str | None = None,
        profile: str | None = None,
        endpoint_url: str | None = None,
        dimensions: int | None = None,
        normalize: bool = True,
        query_purpose: Purpose = "TEXT_RETRIEVAL",
        batch_size: int = 96,
        plan: Plan = Plan(),  # noqa: B008 - frozen
    ) -> None:
        _require_package()
        self._named = read_name(model)
        self._options = Options(
            dimensions=dimensions, normalize=normalize, query_purpose=query_purpose
        )
        family = self._named.family
        check_dimensions(PROVIDER, self._named.base, dimensions)
        if dimensions is not None and not family.shortens:
            raise ConfigurationError(
                f"bedrock:{self._named.name} has no choice of dimensions; leave out ?dimensions="
            )
        region = _region(region, profile)
        service, host = SERVICE, _host(region)
        if endpoint_url:
            service = replace(SERVICE, address_setting="UNMOVED_BEDROCK_ENDPOINT_URL")
            endpoint = endpoint_of(service, endpoint_url, None)
            if endpoint.login:
                raise ConfigurationError(
                    "UNMOVED_BEDROCK_ENDPOINT_URL holds a user name, which Bedrock has no use for"
                )
            endpoint_url, host = endpoint.url, endpoint.host
        self._account = Account(region=region, profile=profile, endpoint_url=endpoint_url or None)
        # A list, so that the credentials are masked too once they were found.
        self._secrets: list[SecretStr] = []
        hosted = Hosted(
            provider=PROVIDER,
            model=self._named.name,
            host=host,
            service=service,
            secrets=self._secrets,
            dimensions=dimensions,
            settings={
                "region": region,
                **({"endpoint_url": endpoint_url} if endpoint_url else {}),
                **family.settings(self._options),
            },
            libraries={"boto3": metadata.version("boto3")},
        )
        super().__init__(hosted, plan)
        known = find(PROVIDER, self._named.base)
        self.batch_size = min(batch_size, family.texts)
        self.limits = known.limits if known else Limits()
        self.unit = family.unit(self._options)
        self.not_guaranteed = f"{NOT_PROMISED} {family.not_guaranteed}".strip()

    def _connect(self) -> Runtime:
        plan = self._transport.plan
        # Twice as many, since a request that was given up has its thread for a moment longer.
        return Runtime(self._account, plan.timeout_s, 2 * plan.concurrency)

    async def _disconnect(self, client: Runtime) -> None:
        client.close()

    async def _call(self, request: Request, texts: Sequence[str], kind: Kind) -> Reply:
        family, runtime = self._named.family, self.client
        body = json.dumps(family.body(texts, kind, self._options)).encode()
        try:
            received, headers = await runtime.invoke(self._named.asked, body)
        except CallFailedError as exc:
            found = await asyncio.to_thread(runtime.secrets)
            self._secrets[:] = [SecretStr(secret) for secret in found]
            _name_text(exc, request)
            raise
        payload = payload_of(received, request)
        return Reply(
            vectors=in_order(family.values(payload, request), request),
            tokens=_tokens(headers, payload),
        )


def _name_text(failure: CallFailedError, request: Request) -> None:
    """Say which text is meant where an answer names one by its place."""
    found = _PLACE.search(str(failure.body))
    if found and int(found[1]) < len(request.texts) and not failure.advice:
        failure.advice = f"this is {request.text(int(found[1]))}"


def _tokens(headers: Mapping[str, str], payload: Mapping[str, JSON]) -> int | None:
    counted = headers.get("x-amzn-bedrock-input-token-count", "")
    if counted.isdigit():
        return int(counted)
    tokens = payload.get("inputTextTokenCount")
    return tokens if isinstance(tokens, int) else None


def _region(region: str | None, profile: str | None) -> str:
    """Check the region, or find it as AWS's own tools do."""
    found = (region or "").strip() or _region_of(profile)
    if not found:
        raise ConfigurationError(
            "embedders bedrock:MODEL need a region: set UNMOVED_BEDROCK_REGION, "
            "for example to us-east-1"
        )
    if not _REGION.fullmatch(found):
        raise ConfigurationError(
            f"UNMOVED_BEDROCK_REGION is no region of AWS: {found!r}; write one like us-east-1"
        )
    return found


def _region_of(profile: str | None) -> str | None:
    import boto3
    from botocore.exceptions import BotoCoreError

    try:
        region = boto3.Session(profile_name=profile or None).region_name
    except BotoCoreError as exc:
        raise ConfigurationError(f"check UNMOVED_BEDROCK_PROFILE: {exc}") from exc
    return str(region) if region else None


def _host(region: str) -> str:
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"bedrock-runtime.{region}.{domain}"


def _require_package() -> None:
    if importlib.util.find_spec("boto3") is None:
        raise ConfigurationError(
            "embedders bedrock:MODEL need the package boto3: install unmoved[bedrock]"
        )
