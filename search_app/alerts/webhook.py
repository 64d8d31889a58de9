"""Alerts as JSON, posted to an address."""

import asyncio
import hashlib
import hmac
import importlib.metadata
import json
from base64 import b64encode
from urllib.parse import unquote, urlsplit

from search_app.alerts.message import Payload
from search_app.config import Settings
from search_app.errors import AlertNotSentError
from search_app.http_exchange import FAILURES, post, reason

TIMEOUT_S = 30.0

SIGNATURE = "X-Unmoved-Signature"
"""Header: ``sha256=`` and the HMAC-SHA256 of the body under the secret, in hexadecimal."""

_OK = range(200, 300)


async def send(settings: Settings, payload: Payload) -> None:
    """Post an alert; redirects are not followed.

    Raises:
        AlertNotSentError: no answer in time, or one that is no success. Never names the address,
            which may hold a key.
    """
    url = settings.alert_webhook_url
    if url is None:
        raise AlertNotSentError("webhook: UNMOVED_ALERT_WEBHOOK_URL is not set any more")
    address = urlsplit(url.get_secret_value())
    host = address.netloc.rpartition("@")[2]
    content = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
    headers = {
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "Connection": "close",
        "Content-Type": "application/json; charset=utf-8",
        "User-Agent": f"Unmoved/{importlib.metadata.version('unmoved')}",
    }
    if address.username is not None:
        login = f"{unquote(address.username)}:{unquote(address.password or '')}"
        headers["Authorization"] = f"Basic {b64encode(login.encode()).decode()}"
    secret = settings.alert_webhook_secret
    if secret is not None and secret.get_secret_value():
        headers[SIGNATURE] = signature(secret.get_secret_value(), content)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            answer = await post(
                address._replace(netloc=host), content, headers, timeout_s=TIMEOUT_S
            )
    except FAILURES as exc:
        raise AlertNotSentError(f"webhook: no answer of {host}: {reason(exc)}") from exc
    if answer.status not in _OK:
        raise AlertNotSentError(f"webhook: {host} answered with HTTP {answer.status}")


def signature(secret: str, content: bytes) -> str:
    """Sign a body."""
    return "sha256=" + hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()
