"""Sentences that are told on the command line and, translated, on pages."""


def gettext_noop(message: str) -> str:
    """Mark a text for translation, unchanged: pages translate it when they show it."""
    return message
