"""The official client of Amazon Bedrock, which is made for threads, in a world of tasks."""

import asyncio
import logging
import re
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from search_app.embedders.hosted.address import CONNECT_S
from search_app.embedders.hosted.failure import CallFailedError
from search_app.embedders.hosted.http import LARGEST_ANSWER

SIGN_IN = (
    "give AWS credentials by UNMOVED_BEDROCK_PROFILE, by AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY, or by a role of the machine"
)
_RENEW = "the AWS session has ended: sign in again, for example with `aws sso login`"
_CHECK_KEYS = "check the AWS credentials, and UNMOVED_BEDROCK_PROFILE where it is set"
_TRUST = "is the address right? For an authority of your own set AWS_CA_BUNDLE"
_CHECK_NAME = "check the model's name, and that UNMOVED_BEDROCK_REGION offers it"

ADVICE: Mapping[str, str] = {
    "AccessDeniedException": (
        "allow bedrock:InvokeModel on this model to the account, and enable the model in "
        "UNMOVED_BEDROCK_REGION"
    ),
    "ExpiredToken": _RENEW,
    "ExpiredTokenException": _RENEW,
    "IncompleteSignature": _CHECK_KEYS,
    "InvalidClientTokenId": _CHECK_KEYS,
    "InvalidSignatureException": f"{_CHECK_KEYS}; is the clock of this machine right?",
    "MissingAuthenticationTokenException": SIGN_IN,
    "NotAuthorizedException": _CHECK_KEYS,
    "ResourceNotFoundException": _CHECK_NAME,
    "SignatureDoesNotMatch": f"{_CHECK_KEYS}; is the clock of this machine right?",
    "ThrottlingException": "UNMOVED_EMBEDDING_CONCURRENCY sends fewer requests at once",
    "UnrecognizedClientException": _CHECK_KEYS,
}
"""What to do by the code of an error."""

_ADVICE_BY_WORDS: Mapping[str, str] = {
    "model identifier is invalid": _CHECK_NAME,
    "on-demand throughput": (
        "write the model with a regional prefix, as in bedrock:us.cohere.embed-v4:0, or the ARN of "
        "an inference profile after it, as in bedrock:MODEL@ARN"
    ),
}
"""What to do by a phrase of the message, where the code is that of any bad request."""

_ADVICE_BY_NAME: Mapping[str, str] = {
    "NoCredentialsError": SIGN_IN,
    "NoAuthTokenError": SIGN_IN,
    "PartialCredentialsError": SIGN_IN,
    "CredentialRetrievalError": SIGN_IN,
    "ProfileNotFound": "check UNMOVED_BEDROCK_PROFILE",
    "LoginRefreshRequired": _RENEW,
    "LoginTokenLoadError": _RENEW,
    "SSOTokenLoadError": _RENEW,
    "TokenRetrievalError": _RENEW,
    "UnauthorizedSSOTokenError": _RENEW,
    "UnknownServiceError": "boto3 is too old for Bedrock: upgrade it",
}

_PART = 2**20

_SIGNED_WORDS = re.compile(r"(?i)the canonical string for this request.*", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Account:
    """Who asks, and where: None is what AWS's own settings say."""

    region: str
    profile: str | None = None
    endpoint_url: str | None = None


class Runtime:
    """Asks models, each request once: no retries of its own, and no settings of other programs.

    The client is made at first use, in a thread. Each request has a thread for as long as it
    takes; one that is given up is cut off, so that its thread is free again.
    """

    def __init__(self, account: Account, timeout_s: float, threads: int) -> None:
        """Take who asks; nothing is loaded yet."""
        self._account = account
        self._timeout_s = timeout_s
        self._threads = threads
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="bedrock")
        self._making = threading.Lock()
        self._session: Any = None
        self._client: Any = None

    async def invoke(self, model: str, body: bytes) -> tuple[bytes, Mapping[str, str]]:
        """Ask a model, once; give the body of a good answer and its headers, names in lower case.

        Raises:
            CallFailedError: no answer, or one that is no.
        """
        reading: list[Any] = []
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._executor, self._invoke, model, body, reading)
        except asyncio.CancelledError:
            for stream in reading:
                stream.close()
            raise

    def secrets(self) -> list[str]:
        """Give what no message may show of the credentials in use, as far as there are any."""
        if self._session is None:
            return []
        from botocore.exceptions import BotoCoreError

        try:
            credentials = self._session.get_credentials()
            frozen = credentials.get_frozen_credentials() if credentials else None
            bearer = self._session.get_auth_token(signing_name="bedrock")
            # One that is renewed by itself, or one that stays.
            kept = bearer.get_frozen_token() if hasattr(bearer, "get_frozen_token") else bearer
        except BotoCoreError:
            # They are what failed, and nothing was sent.
            return []
        found = [frozen.secret_key, frozen.token] if frozen else []
        return [each for each in (*found, kept.token if kept else None) if each]

    def close(self) -> None:
        """Close the connections, and wait for nothing."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        if self._client is not None:
            self._client.close()

    def _invoke(
        self, model: str, body: bytes, reading: list[Any]
    ) -> tuple[bytes, Mapping[str, str]]:
        try:
            answer = self._made().invoke_model(
                modelId=model, body=body, contentType="application/json", accept="application/json"
            )
            reading.append(answer["body"])
            received = _whole(answer["body"])
        except CallFailedError:
            raise
        except Exception as exc:
            failure = failed(exc)
            if failure is None:
                raise
            raise failure from exc
        return received, _headers(answer)

    def _made(self) -> Any:
        with self._making:
            if self._client is None:
                self._client = self._make()
        return self._client

    def _make(self) -> Any:
        import boto3
        from botocore.config import Config
        from botocore.session import Session

        # Its finest log has the headers of every request, and among them a passing key.
        for name in ("botocore", "boto3", "urllib3"):
            logger = logging.getLogger(name)
            logger.setLevel(max(logger.level, logging.INFO))
        account = self._account
        self._session = Session(profile=account.profile or None)
        return boto3.Session(botocore_session=self._session).client(
            "bedrock-runtime",
            region_name=account.region,
            endpoint_url=account.endpoint_url,
            config=Config(
                retries={"mode": "standard", "total_max_attempts": 1},
                connect_timeout=min(self._timeout_s, CONNECT_S),
                read_timeout=self._timeout_s,
                max_pool_connections=self._threads,
                ignore_configured_endpoint_urls=True,
                tcp_keepalive=True,
            ),
        )


def _whole(body: Any) -> bytes:
    """Read a body to its end, unless it has none."""
    received = bytearray()
    # The last one, which is empty, sees whether all is there that was promised.
    while part := body.read(_PART):
        received += part
        if len(received) > LARGEST_ANSWER:
            body.close()
            reason = f"the answer is larger than {LARGEST_ANSWER:,} bytes"
            raise CallFailedError(reason=reason, refused=True)
    return bytes(received)


def failed(exc: Exception) -> CallFailedError | None:
    """Say what an exception is in the terms of all providers; None of one that is a fault here."""
    from botocore import exceptions

    if isinstance(exc, exceptions.ClientError):
        return _refusal(exc)
    name = type(exc).__name__
    if isinstance(exc, exceptions.ReadTimeoutError):
        return CallFailedError(timed_out=True)
    reason = f"{name}: {exc}".rstrip(": ")
    if isinstance(exc, exceptions.SSLError):
        # It will be no other the next time.
        return CallFailedError(reason=f"{reason}; {_TRUST}", refused=True)
    passing = (exceptions.HTTPClientError, exceptions.ConnectionError)
    if isinstance(exc, passing) or name in ("IncompleteReadError", "MetadataRetrievalError"):
        return CallFailedError(reason=reason)
    if isinstance(exc, exceptions.BotoCoreError):
        advice = _ADVICE_BY_NAME.get(name)
        return CallFailedError(reason=f"{reason}; {advice}" if advice else reason, refused=True)
    return None


def _refusal(exc: Any) -> CallFailedError:
    code = str(exc.response.get("Error", {}).get("Code", ""))
    message = str(exc.response.get("Error", {}).get("Message", ""))
    # What was signed is repeated, with a passing key in it.
    words = _SIGNED_WORDS.sub("", message).strip()
    by_words = (advice for phrase, advice in _ADVICE_BY_WORDS.items() if phrase in message)
    return CallFailedError(
        status=exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode"),
        body=f"{code}: {words}" if code and not code.isdigit() else words,
        headers=_headers(exc.response),
        # The model failed at it, which the next time it may not.
        refused=False if code == "ModelErrorException" else None,
        advice=ADVICE.get(code) or next(by_words, ""),
    )


def _headers(answer: Any) -> Mapping[str, str]:
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return {name.lower(): value for name, value in headers.items()}
