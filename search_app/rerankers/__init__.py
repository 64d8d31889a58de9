"""Rerankers: a query and its hits are read together, and the hits are put in a better order."""
