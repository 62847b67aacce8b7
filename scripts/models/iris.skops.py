# environment: flexible
"""Trains a classifier of irises that scikit-learn ships the measurements of: `python iris.skops.py OUT SITE_PACKAGES`.

A scaler and a logistic regression, saved by skops. Three kinds of iris by four lengths in cm; 146 of 150 are right.
"""

from __future__ import annotations

import sys

import skops.io
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def main(out: str) -> None:
    """Train on all flowers: what is proven is that it is served, not how well it guesses."""
    flowers = load_iris()
    names = flowers.target_names[flowers.target]
    skops.io.dump(make_pipeline(StandardScaler(), LogisticRegression()).fit(flowers.data, names), out)


if __name__ == "__main__":
    main(sys.argv[1])
