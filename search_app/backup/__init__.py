"""Backups: the whole catalog, the vectors of either store and uploaded files; and back again."""
