"""scikit-learn used directly: `python predicting.py WEIGHTS OPTIONS`. Items are calls."""

from __future__ import annotations

import sys

import numpy as np
import skops.io
from turns import answer, each

if __name__ == "__main__":
    estimator = skops.io.load(sys.argv[1])
    answer(each(lambda request: estimator.predict(np.asarray(request["args"][0])).tolist()))
