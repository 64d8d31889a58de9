"""Analyses of whole indexes: what a command or a queued job asks for, done and kept."""
