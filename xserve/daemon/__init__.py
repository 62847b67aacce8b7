"""The composition root: it alone knows all edges, and its loop owns all mutable state.

`main` builds and runs it; `loop` is observe, reconcile, apply, wait; `world` is the reading of files and engines;
`control` is what the API asks for; `trials` are launches over the API that have to prove themselves.
"""
