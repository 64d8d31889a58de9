"""Measurements: ratios against a baseline of the same run; run with make bench."""
