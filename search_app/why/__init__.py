"""Why is a document not found, or no longer? The answer, from log, history, runs and indexes."""
