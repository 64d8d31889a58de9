"""Keys: how they are made, read and compared.

A key is ``unm_``, twelve characters that name it and are shown, ``_`` and a secret of 256 bits.
Kept is its SHA-256 alone. A slow hash, as passwords need, would protect nothing here: nobody
guesses 256 random bits, however quick each guess is, and a slow hash would let wrong keys cost
more than right ones.
"""

import hmac
import re
import secrets
from dataclasses import dataclass
from hashlib import sha256

PREFIX = "unm_"
_NAME_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
_NAME_LENGTH = 12
_SECRET_BYTES = 32
_SHAPE = re.compile(rf"{PREFIX}([{_NAME_ALPHABET}]{{{_NAME_LENGTH}}})_[A-Za-z0-9_-]{{43}}")

LONGEST = 100
"""No key has more characters; what is longer is not even looked at."""


@dataclass(frozen=True, kw_only=True)
class Key:
    """A key as its owner has it. ``label`` may be shown; ``text`` is shown once, at its making."""

    label: str
    text: str

    def __repr__(self) -> str:
        """Leave the secret out of logs and tracebacks."""
        return f"Key(label={self.label!r})"

    @property
    def hash(self) -> bytes:
        """What is kept of it."""
        return hash_of(self.text)


def new_key() -> Key:
    """Draw a key."""
    name = "".join(secrets.choice(_NAME_ALPHABET) for _ in range(_NAME_LENGTH))
    label = PREFIX + name
    return Key(label=label, text=f"{label}_{secrets.token_urlsafe(_SECRET_BYTES)}")


def read_key(text: str) -> Key | None:
    """Read what somebody sent as a key; None where it has not the shape of one."""
    if len(text) > LONGEST or _SHAPE.fullmatch(text) is None:
        return None
    return Key(label=text[: len(PREFIX) + _NAME_LENGTH], text=text)


def hash_of(text: str) -> bytes:
    """Hash a secret of full entropy: a key, or the name of a session."""
    return sha256(text.encode()).digest()


def same(kept: bytes | None, sent: bytes) -> bool:
    """Compare hashes in a time that says nothing of them; with None kept, in that time too."""
    equal = hmac.compare_digest(kept if kept is not None else bytes(len(sent)), sent)
    return equal and kept is not None
