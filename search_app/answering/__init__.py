"""Answers to questions out of the documents, with their sources; see ``asking``."""
