"""The surface: one route table, the handlers behind it, and the data path to the engines."""
