"""How good search is, measured on a set of queries whose right answers are known."""
