"""What writes answers: a model behind an endpoint, or the passages' own sentences."""
