"""The pure core: what users may write, what is wanted, what is there, and what to do about it.

Nothing in this package reads a clock, a file, the environment or a random number; import-linter proves it.
"""
