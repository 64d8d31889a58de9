"""Telling people that a check failed, or that there has been none for days.

What there is to tell is read from the catalog, where the checks are, and so is what was told: any
process may look, as often as it likes, and the same is said once. Workers look, and so does the
web server, since a worker that is dead tells nobody; ``search-app alerts`` is for cron.
"""
