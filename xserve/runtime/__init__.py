"""Makes actions happen: process trees under a shim, sockets, readiness, logs."""
