"""What an analysis needs before it can say anything."""

import importlib.util

from search_app.errors import ConfigurationError, InvalidInputError

PACKAGE = "scikit-learn"


def require_scikit_learn(wish: str) -> None:
    """Refuse early where scikit-learn is not installed.

    Raises:
        ConfigurationError: says how to install it.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise ConfigurationError(
            f"{wish} needs the package {PACKAGE}; run: pip install 'unmoved[analysis]'"
        )


def require_passages(found: int, least: int, wish: str) -> None:
    """Refuse a collection that is too small for what is asked.

    Raises:
        InvalidInputError: says how many passages there are and how many are needed.
    """
    if found < least:
        there = {0: "there is no passage", 1: "there is 1 passage"}.get(
            found, f"there are {found:,} passages"
        )
        raise InvalidInputError(
            f"{wish} needs {least} passages or more and {there}; ingest more, or name another "
            "collection or filter"
        )
