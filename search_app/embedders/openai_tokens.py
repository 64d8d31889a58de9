"""Counting tokens as OpenAI's embedding models do, from a file of ranks; nothing is downloaded."""

import base64
import hashlib
from functools import lru_cache
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING

from search_app.errors import ConfigurationError

if TYPE_CHECKING:
    from tiktoken import Encoding

ENCODING = "cl100k_base"
"""The vocabulary of all of OpenAI's embedding models so far."""

RANKS_HASH = "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"
"""SHA-256 of the file of its ranks, as tiktoken itself expects it."""

SETTING = "UNMOVED_TIKTOKEN_FILE"


def count_tokens(text: str, ranks: Path) -> int:
    """Count the tokens of a text by a file of ranks, which is read at the first call.

    Names of special tokens in a text are text, as they are to the models.

    Raises:
        ConfigurationError: the file, or the package tiktoken, is missing or another.
    """
    return len(_encoding(ranks).encode_ordinary(text))


@lru_cache(maxsize=1)
def _encoding(path: Path) -> "Encoding":
    try:
        from tiktoken import Encoding
        from tiktoken_ext import openai_public
    except ImportError as exc:
        raise ConfigurationError(
            f"{SETTING} is set, but the package tiktoken is missing: install unmoved[openai]"
        ) from exc
    ranks = _ranks(path)
    published = openai_public.ENCODING_CONSTRUCTORS[ENCODING]
    # All but the ranks is taken from the package, whose own way to get those is to download them.
    offline = FunctionType(
        published.__code__,
        {**published.__globals__, "load_tiktoken_bpe": lambda *_, **__: ranks},
    )
    return Encoding(**offline())


def _ranks(path: Path) -> dict[bytes, int]:
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise ConfigurationError(f"{SETTING}: {path} cannot be read: {exc.strerror}") from exc
    if hashlib.sha256(content).hexdigest() != RANKS_HASH:
        raise ConfigurationError(
            f"{SETTING}: {path} is not the file {ENCODING}.tiktoken that OpenAI publishes"
        )
    pairs = (line.split() for line in content.splitlines())
    return {base64.b64decode(token): int(rank) for token, rank in pairs}
