"""Inventories of this machine's GPUs."""
