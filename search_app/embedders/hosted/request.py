"""One request as far as messages speak of it: who was asked, about which texts, what is secret."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import SecretStr

from search_app.types import JSON

EXCERPT = 40
"""Most characters of a text that an error shows."""

LONGEST_WORDS = 300
"""Most characters of a server's own words that an error repeats."""

MASK = "********"


@dataclass(frozen=True, kw_only=True)
class Service:
    """A provider as its users set it up: its own address, and what its settings are called.

    ``hints`` say by HTTP status what to look at. A setting that a provider has not is empty.
    ``address_advice`` follows the name of the address setting where the address may be wrong.
    """

    url: str = ""
    example: str = "http://127.0.0.1:8000/v1"
    key_setting: str
    address_setting: str = ""
    address_advice: str = ""
    dimensions_setting: str = ""
    batch_setting: str = ""
    hints: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request, as far as its errors speak of it: who was asked, and about which texts.

    ``texts`` are the user's, without prefix: what they would recognise.
    """

    spec: str
    host: str
    service: Service
    texts: Sequence[str] = field(repr=False)
    secrets: Sequence[SecretStr] = ()

    def line(self, problem: str) -> str:
        """Say who was asked and what is wrong, on one line, every secret masked."""
        return one_line(self.masked(f"{self.spec} at {self.host}: {problem}"))

    def masked(self, words: str) -> str:
        """Replace every secret, since some servers repeat the key they were sent."""
        for secret in self.secrets:
            words = words.replace(secret.get_secret_value(), MASK)
        return words

    def text(self, index: int) -> str:
        """Name one text by its place, from 1, and how it begins."""
        # Masked before it is cut: half a key is a key too.
        words = self.masked(self.texts[index])
        excerpt = words[:EXCERPT] + ("…" if len(words) > EXCERPT else "")
        return f"text {index + 1} of {len(self.texts)} ({excerpt!r})"

    def shortened(self, words: str) -> str:
        """Cut a server's words to a readable length, after masking: half a key is a key too."""
        words = one_line(self.masked(words))
        return words if len(words) <= LONGEST_WORDS else f"{words[:LONGEST_WORDS]}…"


def server_words(body: JSON) -> str:
    """Find the sentence in an error body: OpenAI's form, FastAPI's, vLLM's, Ollama's, or text."""
    if isinstance(body, Mapping):
        for key in ("message", "error", "detail", "msg"):
            if body.get(key):
                return server_words(body[key])
    if isinstance(body, list) and body:
        return server_words(body[0])
    if isinstance(body, str):
        return "an HTML page" if is_html(body) else body
    return json.dumps(body, ensure_ascii=False)


def is_html(body: str) -> bool:
    """Whether a body is a page for people: most often a proxy's, or the wrong address."""
    return body.lstrip()[:15].lower().startswith(("<!doctype html", "<html"))


def one_line(words: str) -> str:
    """Bring words to one printable line."""
    # A server's words end up in terminals, where control characters would do things.
    return "".join(c if c.isprintable() else "�" for c in " ".join(words.split()))
