"""What turns text into vectors: one port (base.py), one file per provider."""
