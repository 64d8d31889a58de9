"""Where vectors live: one port (base.py), one file per backend."""
