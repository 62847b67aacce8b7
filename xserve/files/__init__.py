"""The only reader and writer of definition, deploy and settings files."""
