"""Measured comparisons: what README promises about speed and size, shown in one run on the machine at hand.

Every figure that a machine's speed would falsify is a ratio to something measured beside it. Nothing here is a
test: a missed target is printed, not raised.
"""
