"""The official client of Google's APIs, as far as embedding needs it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from search_app.embedders.hosted import http
from search_app.embedders.hosted.address import CONNECT_S, Endpoint
from search_app.embedders.hosted.bounded import bounded, too_large
from search_app.embedders.hosted.failure import CallFailedError
from search_app.types import JSON

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)

NO_KEY = "no-key"
"""Sent to another server where no key is set: the client insists on one."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """Who asks: a key, or a project and a location; ``credentials`` None are found when needed.

    ``address_setting`` is what decides where.
    """

    endpoint: Endpoint
    address_setting: str
    project: str | None = None
    location: str | None = None
    credentials: "Credentials | None" = field(default=None, repr=False)

    @property
    def models(self) -> str:
        """The path below which the client finds models."""
        return "models" if self.project is None else "publishers/google/models"


class Connection:
    """The official client as far as it is needed: addresses, signing in, one request at a time.

    It is made at first use and in a thread, since importing it takes a second. It reads none of
    the ``GOOGLE_*`` and ``GEMINI_*`` variables, save those that say where the application default
    credentials are; it never retries and follows no redirect.
    """

    def __init__(self, account: Account, timeout_s: float, largest: int) -> None:
        """Take who asks, and how many bytes an answer may have; nothing is loaded yet."""
        self._account = account
        self._timeout_s = timeout_s
        self._largest = largest
        self._making = asyncio.Lock()
        self._client: Any = None
        self._http: Any = None
        self._credentials: Any = None

    @property
    def token(self) -> str | None:
        """The passing key that Vertex AI is sent, once there is one."""
        return None if self._credentials is None else self._credentials.token

    async def post(self, model: str, method: str, body: Mapping[str, JSON]) -> bytes:
        """Ask for a model, once, and give the body of a good answer.

        Raises:
            CallFailedError: no answer, or one that is no.
        """
        try:
            async with self._making:
                if self._client is None:
                    await asyncio.to_thread(self._make)
            path = f"{self._account.models}/{model}:{method}"
            # The method of the client that is meant for this takes any answer for a good one, and
            # chooses by the model's name how to ask.
            answer = await self._client._api_client.async_request("post", path, dict(body))  # noqa: SLF001 - see above
        except Exception as exc:
            failure = failed(exc, self._account)
            if failure is None:
                raise
            raise failure from exc
        return str(answer.body).encode()

    async def aclose(self) -> None:
        """Close its connections."""
        if self._client is not None:
            self._client.close()
            await self._http.aclose()

    def _make(self) -> None:
        import google.auth
        import httpx2
        from google import genai

        account, login = self._account, self._account.endpoint.login
        key = account.endpoint.key
        vertex = account.project is not None
        if vertex:
            found = account.credentials or google.auth.default(scopes=_SCOPES)[0]
            self._credentials = found
        # Made once: each takes a while, and the client would make several.
        trusted = httpx2.create_ssl_context()
        self._http = bounded(httpx2.AsyncClient, self._largest)(
            verify=trusted,
            auth=(login[0], login[1].get_secret_value()) if login else None,
            timeout=httpx2.Timeout(self._timeout_s, connect=min(self._timeout_s, CONNECT_S)),
            follow_redirects=False,
        )
        self._client = genai.Client(
            vertexai=vertex,
            api_key=None if vertex else key.get_secret_value() if key else NO_KEY,
            credentials=self._credentials,
            project=account.project,
            location=account.location,
            http_options=genai.types.HttpOptions(
                base_url=account.endpoint.url,
                api_version="v1beta1" if vertex else "v1beta",
                timeout=max(1, round(self._timeout_s * 1000)),
                httpx_async_client=self._http,
                client_args={"verify": trusted},
                async_client_args={"verify": trusted, "ssl": trusted},
            ),
        )


def failed(exc: Exception, account: Account) -> CallFailedError | None:
    """Say what an exception is in the terms of all providers; None of one that is a fault here."""
    import httpx2
    from google.auth.exceptions import GoogleAuthError
    from google.genai.errors import APIError

    if (larger := too_large(exc)) is not None:
        return larger
    if isinstance(exc, APIError):
        return _refusal(exc)
    if isinstance(exc, httpx2.HTTPError | httpx2.InvalidURL):
        return http.failed(exc, account.endpoint.url, account.address_setting)
    reason = f"{type(exc).__name__}: {exc}".rstrip(": ")
    if isinstance(exc, GoogleAuthError):
        passing = exc.retryable or type(exc).__name__ == "TransportError"
        advice = (
            "; for Vertex AI, make application default credentials with "
            "`gcloud auth application-default login`, or name a file in "
            "GOOGLE_APPLICATION_CREDENTIALS; for the Gemini API, unset UNMOVED_GOOGLE_PROJECT"
        )
        return CallFailedError(reason=reason if passing else reason + advice, refused=not passing)
    # The client reads an error's body as JSON, whatever it is.
    return CallFailedError(reason=reason) if isinstance(exc, UnicodeDecodeError) else None


def _refusal(exc: Any) -> CallFailedError:
    headers = {name.lower(): value for name, value in exc.response.headers.items()}
    words = str(exc.details)
    # A wrong key is answered with 400, as a bad request is.
    wrong_key = "API_KEY_INVALID" in words or "API key not valid" in words
    return CallFailedError(
        status=exc.code,
        body=exc.details,
        headers=headers,
        advice="check UNMOVED_GOOGLE_API_KEY" if wrong_key else "",
    )
