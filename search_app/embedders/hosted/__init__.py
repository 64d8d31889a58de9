"""What embedders behind a network have in common: address, transport, answers and their errors."""
