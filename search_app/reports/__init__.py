"""Checks as pages and as files that can be mailed: pure functions from what was kept of them."""
