"""Texts without the secrets that people put into addresses."""

import re

from search_app.access.secret import PREFIX

_USER = re.compile(r"(?<=//)[^/@\s\"']*@")
_QUERY = re.compile(r"(https?://[^\s?\"']*\?)[^\s\"'&#]*[^\s\"']*")
_KEY = re.compile(rf"({PREFIX}[a-z0-9]{{12}})_[A-Za-z0-9_-]+")

HIDDEN = "…"


def masked(text: str) -> str:
    """Hide names and passwords in addresses, what stands behind their ``?``, and keys."""
    without = _USER.sub(f"{HIDDEN}@", text)
    without = _QUERY.sub(rf"\g<1>{HIDDEN}", without)
    return _KEY.sub(rf"\g<1>_{HIDDEN}", without)
