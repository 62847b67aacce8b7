"""What engines written in Python share: reading the launch file, and HTTP on a unix socket.

Standard library only, and nothing of xserve: an engine runs in an environment of its own.
"""
