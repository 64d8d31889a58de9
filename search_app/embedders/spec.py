"""How a user names an embedder: ``PROVIDER:MODEL?OPTION=VALUE``."""

from dataclasses import dataclass
from typing import Self
from urllib.parse import parse_qsl

from search_app.errors import ConfigurationError


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A spec in its parts, e.g. ``openai:text-embedding-3-small?dimensions=256``.

    ``dimensions`` is None where the model's own are wanted.
    """

    provider: str
    model: str
    dimensions: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Take a spec apart.

        Raises:
            ConfigurationError: an option that there is not, or a value that it cannot have.
        """
        named, mark, query = text.partition("?")
        provider, _, model = named.partition(":")
        options = dict(parse_qsl(query, keep_blank_values=True))
        dimensions = options.pop("dimensions", None)
        if options or (mark and dimensions is None):
            raise ConfigurationError(
                f"embedder {text!r}: the only option is dimensions, as in "
                f"{provider}:{model or 'MODEL'}?dimensions=256"
            )
        return cls(provider=provider, model=model, dimensions=_positive(dimensions, text))


def _positive(value: str | None, text: str) -> int | None:
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and int(value) > 0):
        raise ConfigurationError(f"embedder {text!r}: dimensions must be a number above 0")
    return int(value)
