"""The launcher of scikit-learn's estimators and pipelines, from a file of skops.

A skops file says which classes it is made of, and is loaded only if all of them are scikit-learn's or numpy's own.
A pickle (`.pkl`, `.joblib`) runs whatever code its writer put in. It is loaded, as is a skops file with other
classes, only where remote code is allowed for the model.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import skops.io
from xserve_engine.flexible import FlexibleModel, FlexibleModelSpec, WrongInput
from xserve_engine.launch import BAD_DEFINITION, BAD_WEIGHTS, Refusal

METHODS = (
    "predict",
    "predict_proba",
    "predict_log_proba",
    "decision_function",
    "transform",
    "score_samples",
)


def launcher(model_uid: str, model_spec: FlexibleModelSpec, *, method: str = "") -> FlexibleModel:
    """The estimator; `method` is what a request calls that names none: left out, the first that it has."""
    if model_spec.model_uri is None:
        raise Refusal(BAD_DEFINITION, "The definition needs a model_uri: the file with the estimator.")
    if method and method not in METHODS:
        raise Refusal(BAD_DEFINITION, f"The method must be one of {', '.join(METHODS)}, not {method}.")
    return Estimator(model_uid, model_spec, method)


class Estimator(FlexibleModel):
    """One estimator."""

    def __init__(self, uid: str, spec: FlexibleModelSpec, method: str) -> None:
        super().__init__(uid, spec.model_uri)
        self._file = Path(str(spec.model_uri))
        self._remote_code = spec.remote_code
        self._method = method

    def load(self) -> None:
        """Read it. Refuses a file that is none of skops, or that needs code that is not allowed."""
        self._estimator = _read(self._file, self._remote_code)
        self._offers = [name for name in METHODS if hasattr(self._estimator, name)]
        if not self._offers or (self._method and self._method not in self._offers):
            wanted = self._method or "any method that can be called"
            raise Refusal(BAD_DEFINITION, f"The {type(self._estimator).__name__} in {self._file} lacks {wanted}.")

    def infer(self, rows: list[Any], method: str = "") -> Any:
        """What a method of the estimator answers for these rows: numbers, texts, or objects with members."""
        chosen = method or self._method or self._offers[0]
        if chosen not in self._offers:
            raise WrongInput(f"The method must be one of {', '.join(self._offers)}, not {chosen}.")
        try:
            return getattr(self._estimator, chosen)(_table(rows))
        except (TypeError, ValueError) as error:
            raise WrongInput(f"The estimator cannot use these rows: {error}") from error


def _table(rows: list[Any]) -> Any:
    """Rows of values as an array, with columns of several types as they are; texts and objects stay a list."""
    if not isinstance(rows, list) or not rows or not isinstance(rows[0], list):
        return rows
    table = np.asarray(rows)
    return np.asarray(rows, dtype=object) if table.dtype.kind in "US" else table


def _read(file: Path, remote_code: bool) -> Any:
    if zipfile.is_zipfile(file):
        return _read_skops(file, remote_code)
    if not remote_code:
        raise Refusal(
            BAD_DEFINITION,
            f"{file} is no skops file. A pickle may run any code: save the estimator with skops.io.dump, "
            "or allow remote code for this model in xserve.yaml.",
        )
    return joblib.load(file)


def _read_skops(file: Path, remote_code: bool) -> Any:
    try:
        unknown = skops.io.get_untrusted_types(file=file)
    except (KeyError, ValueError, TypeError) as error:
        raise Refusal(BAD_WEIGHTS, f"{file} is a damaged skops file: {error}.") from error
    if unknown and not remote_code:
        raise Refusal(
            BAD_DEFINITION,
            f"{file} holds classes that are not scikit-learn's: {', '.join(unknown)}. "
            "Allow remote code for this model in xserve.yaml to load them.",
        )
    return skops.io.load(file, trusted=unknown)
