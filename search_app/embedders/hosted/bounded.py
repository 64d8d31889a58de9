"""Answers are read up to what they can be, so that no server fills the memory."""

from collections.abc import AsyncIterator
from typing import Any

from search_app.embedders.hosted.failure import CallFailedError
from search_app.embedders.hosted.http import LARGEST_ANSWER, LARGEST_ERROR

_ENVELOPE = 2**20
_OF_A_TEXT = 2**19
"""Bytes for a vector: of 16,000 dimensions, each written out with 32 characters."""

_ENCODED = (b"content-encoding", b"content-length", b"transfer-encoding")


def largest_answer(texts: int) -> int:
    """Give the most bytes that an answer for so many texts can have, and many more than it has."""
    return min(LARGEST_ANSWER, _ENVELOPE + texts * _OF_A_TEXT)


class TooLargeError(Exception):
    """An answer went on beyond what was to be read of it."""


def bounded(client: Any, most: int) -> Any:
    """Give the class of httpx2 clients that is like another one, but reads no longer answers.

    Of a longer one that is an error the beginning is kept; others raise a request's error, of
    which ``too_large`` tells.
    """
    import httpx2

    class RequestTooLargeError(TooLargeError, httpx2.RequestError):
        """Both what is looked for here and what libraries above httpx2 know."""

    class Bounded(client):  # type: ignore[misc] # whatever library it is of
        async def send(self, request: Any, *, stream: bool = False, **how: Any) -> Any:
            response = await super().send(request, stream=True, **how)
            if stream:
                return response
            try:
                is_error = response.status_code >= httpx2.codes.BAD_REQUEST
                size = LARGEST_ERROR if is_error else most
                body = await _beginning(response.aiter_bytes(), size)
            finally:
                await response.aclose()
            if len(body) > size and not is_error:
                raise RequestTooLargeError(
                    f"the answer is larger than {most:,} bytes", request=request
                )
            headers = [
                (name, value)
                for name, value in response.headers.raw
                if name.lower() not in _ENCODED
            ]
            return httpx2.Response(
                response.status_code,
                headers=headers,
                content=body,
                request=response.request,
                extensions=response.extensions,
            )

    return Bounded


def too_large(exc: BaseException | None) -> CallFailedError | None:
    """Say so where an answer was too large; None of any other exception and its causes."""
    while exc is not None:
        if isinstance(exc, TooLargeError):
            reason = f"{exc}, which no answer with vectors is: is the address that of the API?"
            return CallFailedError(reason=reason, refused=True)
        exc = exc.__cause__
    return None


async def _beginning(parts: AsyncIterator[bytes], most: int) -> bytes:
    """Read until the end, or until it is too much."""
    body = bytearray()
    async for part in parts:
        body += part
        if len(body) > most:
            break
    return bytes(body)
