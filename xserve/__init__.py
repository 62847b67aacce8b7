"""xserve: serve models from files."""

__version__ = "0.1.0"
