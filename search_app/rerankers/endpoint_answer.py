"""Reading an answer of a rerank endpoint, believing nothing that can be checked."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from pydantic import SecretStr

from search_app.embedders.hosted.request import MASK, is_html, server_words
from search_app.errors import RerankerResponseError
from search_app.types import JSON, Vector

LONGEST_WORDS = 300
"""Most characters of a server's own words that an error repeats."""

_ADDRESS = "check that UNMOVED_RERANK_URL is the address of a rerank endpoint"
_API = "the server does not keep to the API"
_LISTS = ("results", "data")
_SCORES = ("relevance_score", "score")
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One question to an endpoint, as far as its errors speak of it."""

    spec: str
    host: str
    query: str = field(repr=False)
    secrets: Sequence[SecretStr] = ()

    def line(self, problem: str) -> str:
        """Say who was asked and what is wrong, on one line, every secret masked."""
        words = " ".join(self.masked(f"{self.spec} at {self.host}: {problem}").split())
        # A server's words end up in terminals, where control characters would do things.
        return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in words)

    def masked(self, words: str) -> str:
        """Replace every secret, since some servers repeat the key they were sent."""
        for secret in self.secrets:
            words = words.replace(secret.get_secret_value(), MASK)
        return words

    def shortened(self, words: str) -> str:
        """Cut a server's words to a readable length, after masking: half a key is a key too."""
        words = self.masked(words)
        return words if len(words) <= LONGEST_WORDS else f"{words[:LONGEST_WORDS]}…"


def read_scores(body: bytes, asked: Asked, count: int) -> Vector:
    """Read the scores of ``count`` texts, placed by their ``index`` whatever order they come in.

    Returns:
        (count,) float32, all finite.

    Raises:
        RerankerResponseError: not JSON, an error in disguise, or a text without its one number.
    """
    scores: dict[int, float] = {}
    for item in _items(_payload(body, asked), asked):
        index = item.get("index") if isinstance(item, dict) else None
        if type(index) is not int or not 0 <= index < count:
            raise _unusable(asked, f"a score has index {index!r} for {count} texts", _API)
        if index in scores:
            raise _unusable(asked, f"two scores for text {index + 1} of {count}", _API)
        scores[index] = _score(item, index, count, asked)
    missing = next((index for index in range(count) if index not in scores), None)
    if missing is not None:
        problem = f"{len(scores)} scores for {count} texts, none for text {missing + 1}"
        raise _unusable(asked, problem, _API)
    return np.array([scores[index] for index in range(count)], dtype=np.float32)


def words_of(body: bytes) -> str:
    """Find the sentence in the body of an answer that is no; empty where there is none."""
    text = body.decode(errors="replace").strip()
    try:
        return server_words(json.loads(text)) if text else ""
    except (ValueError, RecursionError):
        return server_words(text)


def _unusable(asked: Asked, problem: str, advice: str) -> RerankerResponseError:
    return RerankerResponseError(asked.line(f"{problem}; {advice}"))


def _payload(body: bytes, asked: Asked) -> JSON:
    if not body.strip():
        raise _unusable(asked, "the answer is empty", _ADDRESS)
    if is_html(body[:100].decode(errors="replace")):
        raise _unusable(asked, "the answer is an HTML page, not JSON", _ADDRESS)
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as exc:
        problem = f"the answer of {len(body)} bytes is not JSON, or is cut short"
        raise _unusable(asked, problem, "the server's log may say why") from exc


def _items(payload: JSON, asked: Asked) -> Sequence[JSON]:
    if isinstance(payload, list):
        return payload
    if isinstance(payload, dict):
        for name in _LISTS:
            if isinstance(payload.get(name), list):
                items: list[JSON] = payload[name]
                return items
        if payload.get("error"):
            words = asked.shortened(server_words(payload))
            raise _unusable(asked, f"an error sent as a success: {words}", _ADDRESS)
    raise _unusable(asked, "the answer has no list of results", _ADDRESS)


def _score(item: dict[str, JSON], index: int, count: int, asked: Asked) -> float:
    value = next((item[name] for name in _SCORES if name in item), None)
    which = f"the score of text {index + 1} of {count}"
    # numpy would turn "0.1", True and None into numbers.
    if type(value) is not float and type(value) is not int:
        raise _unusable(asked, f"{which} is no number", _API)
    # NaN fails every comparison.
    if not abs(value) <= _LARGEST:
        raise _unusable(asked, f"{which} is NaN or infinite", _API)
    return float(value)
