"""Fetching web pages: politely, within limits, and only from where it is allowed."""
