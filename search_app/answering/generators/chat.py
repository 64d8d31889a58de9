"""Answers by a model behind any OpenAI-compatible chat endpoint, streamed."""

import asyncio
import importlib
import importlib.metadata
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from search_app.answering.generators.base import Generator, Piece, Spent, Task
from search_app.answering.prompt import (
    Message,
    answer_messages,
    new_mark,
    rewrite_messages,
)
from search_app.answering.types import Turn
from search_app.embedders.hosted.address import endpoint_of
from search_app.embedders.hosted.failure import CallFailedError
from search_app.embedders.hosted.request import Request, Service, server_words
from search_app.embedders.openai import connect, failed
from search_app.errors import (
    ConfigurationError,
    EmbedderRefusedError,
    GeneratorError,
    GeneratorRefusedError,
    GeneratorResponseError,
    GeneratorUnavailableError,
)
from search_app.types import JSON

if TYPE_CHECKING:
    from openai import AsyncOpenAI

SERVICE = Service(
    url="https://api.openai.com/v1",
    key_setting="UNMOVED_CHAT_API_KEY",
    address_setting="UNMOVED_CHAT_BASE_URL",
    hints={
        401: "check UNMOVED_CHAT_API_KEY",
        403: "check what UNMOVED_CHAT_API_KEY may use",
        404: "check the model's name, and UNMOVED_CHAT_BASE_URL, which for most servers ends in "
        "/v1; search-app answers models lists the models there",
        405: "check UNMOVED_CHAT_BASE_URL, which for most servers ends in /v1",
    },
)

LONGEST_QUERY = 300
"""Characters of a query that a model may make of a conversation."""

_MALFORMED = frozenset({400, 422})
_FIELD = "stream_options"


class ChatGenerator(Generator):
    """Asks a chat model, with the official client underneath and nothing of ``OPENAI_*``.

    The model is given no tools. Nothing is sent twice: somebody waits, and the passages' own
    sentences are at hand.

    Args:
        model: the model's name at the endpoint.
        base_url: address of the API, mostly ending in ``/v1``; None is OpenAI's own.
        api_key: sent as a bearer token.
        timeout_s: seconds that an answer may take to its last byte.
        stall_s: seconds that may pass without a byte.

    Raises:
        ConfigurationError: the package ``openai`` is missing, or an argument cannot be meant.
    """

    def __init__(
        self,
        *,
        model: str,
        base_url: str | None = None,
        api_key: str | None = None,
        timeout_s: float = 180.0,
        stall_s: float = 60.0,
    ) -> None:
        _require_package()
        if not model.strip():
            raise ConfigurationError("the generator names no model: write chat:MODEL")
        self.model = model.strip()
        self.spec = f"chat:{self.model}"
        self._endpoint = endpoint_of(SERVICE, base_url, api_key)
        self._timeout_s = timeout_s
        self._stall_s = min(stall_s, timeout_s)
        self._client: AsyncOpenAI | None = None
        self._with_usage = True

    def __repr__(self) -> str:
        return f"ChatGenerator(model={self.model!r}, base_url={self._endpoint.url!r})"

    async def write(self, task: Task) -> AsyncIterator[Piece]:
        """Stream the model's text, then what it took."""
        mark = new_mark()
        messages = answer_messages(task.question, task.passages, task.conversation, mark)
        async for piece in self._streamed(messages):
            yield piece

    async def rewrite(self, question: str, conversation: Sequence[Turn]) -> str | None:
        """Have the model make one query of a conversation; None where it makes nothing usable."""
        text = ""
        async for piece in self._streamed(rewrite_messages(question, conversation, new_mark())):
            if isinstance(piece, str):
                text += piece
            if len(text) > LONGEST_QUERY:
                return None
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        query = lines[0].strip("\"'「」“”") if len(lines) == 1 else ""
        return query if any(character.isalnum() for character in query) else None

    async def models(self) -> list[str]:
        """Name the models that the endpoint offers."""
        try:
            client = await self._connected()
            async with asyncio.timeout(self._stall_s):
                page = await client.models.list()
            return sorted(str(each.id) for each in page.data or ())
        except Exception as exc:
            raise self._error(exc) from exc

    async def aclose(self) -> None:
        """Close the connections; again is nothing."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _streamed(self, messages: Sequence[Message]) -> AsyncIterator[Piece]:
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._timeout_s
        stream: Any = None
        finish: str | None = None
        spent = Spent()
        try:
            client = await self._connected()
            stream = await asyncio.wait_for(self._opened(client, messages), self._stall_s)
            chunks = aiter(stream)
            while True:
                # Not one time-out around all: it would run while whoever reads is at work.
                left = min(self._stall_s, ends - loop.time())
                try:
                    async with asyncio.timeout(left):
                        chunk = await anext(chunks)
                except StopAsyncIteration:
                    break
                spent = _spent(chunk) or spent
                text, finish = _text(chunk), _finish(chunk) or finish
                if text:
                    yield text
        except GeneratorError:
            raise
        except Exception as exc:
            raise self._error(exc) from exc
        finally:
            if stream is not None:
                # The one way to say stop: the server sees the connection close.
                await stream.close()
        if finish is None:
            raise GeneratorResponseError(
                self._line("the answer ended before the model was done with it")
            )
        yield Spent(prompt=spent.prompt, completion=spent.completion, cut=finish == "length")

    async def _opened(self, client: "AsyncOpenAI", messages: Sequence[Message]) -> Any:
        written = [{"role": each.role, "content": each.content} for each in messages]
        wanted: dict[str, Any] = {"model": self.model, "messages": written, "stream": True}
        if not self._with_usage:
            return await _stream(client, wanted)
        try:
            return await _stream(client, wanted | {_FIELD: {"include_usage": True}})
        except Exception as exc:
            # Older servers know no such field, and say so.
            if getattr(exc, "status_code", None) not in _MALFORMED or _FIELD not in str(exc):
                raise
        self._with_usage = False
        return await _stream(client, wanted)

    async def _connected(self) -> "AsyncOpenAI":
        if self._client is None:
            # It takes seconds, in which nobody else is to wait.
            await asyncio.to_thread(importlib.import_module, "openai")
        # Asked again: many may have waited, and each client reads all certificates.
        if self._client is None:
            self._client = connect(self._endpoint, self._stall_s)
        return self._client

    def _line(self, problem: str) -> str:
        return self._request.line(problem)

    @property
    def _request(self) -> Request:
        return Request(
            spec=self.spec,
            host=self._endpoint.host,
            service=SERVICE,
            texts=(),
            secrets=self._endpoint.secrets,
        )

    def _error(self, exc: Exception) -> GeneratorError:
        """Say what an attempt came to in one line, every secret masked."""
        import openai

        if isinstance(exc, TimeoutError):
            return GeneratorUnavailableError(self._line("no answer in time"))
        if not isinstance(exc, openai.OpenAIError):
            return GeneratorResponseError(
                self._line(f"what came is no answer of a chat model ({type(exc).__name__})")
            )
        call = failed(exc)
        refused = call.meaning is EmbedderRefusedError
        kind = GeneratorRefusedError if refused else GeneratorUnavailableError
        return kind(self._line(_problem(call, self._request)))


def _problem(call: CallFailedError, request: Request) -> str:
    if call.timed_out:
        return "no answer in time"
    if call.status is None:
        setting = SERVICE.address_setting
        return f"no answer ({call.reason}); is it running, and is {setting} right?"
    words = request.shortened(server_words(call.body)) if call.body else "no reason given"
    problem = f"HTTP {call.status}: {words}"
    if call.retry_after_s is not None:
        problem += f"; it asks to wait {call.retry_after_s:g} s"
    hint = SERVICE.hints.get(call.status)
    return f"{problem}; {hint}" if hint else problem


async def _stream(client: "AsyncOpenAI", wanted: Mapping[str, Any]) -> Any:
    """Open a stream of chunks as they were sent.

    By the client's general way to post: its own for chats makes models of every chunk, which takes
    most of the time that a stream takes, and believes any answer all the same.
    """
    import openai

    return await client.post(
        "/chat/completions",
        cast_to=object,
        body=wanted,
        stream=True,
        stream_cls=openai.AsyncStream[object],
    )


def _choice(chunk: JSON) -> Mapping[str, JSON]:
    choices = chunk.get("choices") if isinstance(chunk, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else {}


def _text(chunk: JSON) -> str:
    delta = _choice(chunk).get("delta")
    content = delta.get("content") if isinstance(delta, dict) else None
    return content if isinstance(content, str) else ""


def _finish(chunk: JSON) -> str | None:
    reason = _choice(chunk).get("finish_reason")
    return reason if isinstance(reason, str) else None


def _spent(chunk: JSON) -> Spent | None:
    usage = chunk.get("usage") if isinstance(chunk, dict) else None
    if not isinstance(usage, dict):
        return None
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    return Spent(
        prompt=prompt if isinstance(prompt, int) else None,
        completion=completion if isinstance(completion, int) else None,
    )


def _require_package() -> None:
    try:
        importlib.metadata.version("openai")
    except importlib.metadata.PackageNotFoundError as exc:
        raise ConfigurationError(
            "generators chat:MODEL need the package openai: install unmoved[openai]"
        ) from exc
