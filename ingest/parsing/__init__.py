"""Parsing in processes of their own: what hangs, crashes or takes all memory costs one file.

``pool`` is what a run holds, ``fork_server`` what it starts, ``wire`` how they talk.
"""

from ingest.parsing.pool import ParserPool, Parsing

__all__ = ["ParserPool", "Parsing"]
