"""Studies of vectors: whether a model answers twice alike, and what moved between two answers."""
