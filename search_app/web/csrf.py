"""Form tokens: a signed double submit, so that only our own pages can post forms.

A cookie that scripts cannot read holds a random nonce; every form carries the nonce's signature.
Another site can make the browser send the cookie, but neither read it nor sign it.
"""

import hmac
import re
import secrets
from hashlib import sha256

from starlette.requests import Request
from starlette.responses import Response

from search_app.web.problems import Kind, ProblemError
from search_app.web.translation import gettext_noop

COOKIE = "unmoved_form"
FIELD = "token"

_NONCE = re.compile(r"[A-Za-z0-9_-]{22}")


class FormTokens:
    """Signs and checks the tokens of forms with one key."""

    def __init__(self, key: bytes) -> None:
        """Take the key; see keys.py."""
        self._key = key

    def sign(self, nonce: str) -> str:
        """Give the token that belongs to a nonce."""
        return hmac.new(self._key, b"form\0" + nonce.encode(), sha256).hexdigest()

    def check(self, request: Request, token: str) -> None:
        """Return if the token is the one that was given to this browser.

        Raises:
            ProblemError: it is missing, altered or another browser's.
        """
        nonce = sent_nonce(request)
        if nonce is None or not hmac.compare_digest(self.sign(nonce).encode(), token.encode()):
            raise ProblemError(
                Kind.FORM_EXPIRED,
                gettext_noop(
                    "the form's token does not belong to this browser session; "
                    "go back, reload the page, and allow its cookie"
                ),
            )


def sent_nonce(request: Request) -> str | None:
    """Get the nonce that the browser sent, unless it is none of ours."""
    nonce = request.cookies.get(COOKIE, "")
    return nonce if _NONCE.fullmatch(nonce) else None


def new_nonce() -> str:
    """Draw a nonce of 128 bits."""
    return secrets.token_urlsafe(16)


def remember(response: Response, nonce: str, *, secure: bool) -> None:
    """Give the nonce to the browser until it is closed."""
    response.set_cookie(COOKIE, nonce, httponly=True, samesite="lax", secure=secure, path="/")
