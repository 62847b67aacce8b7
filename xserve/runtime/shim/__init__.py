"""The program that stands between the daemon and one engine's process tree; see `supervisor`."""
