"""The launcher of ONNX graphs: named inputs as nested lists, named outputs back."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, InvalidGraph, InvalidProtobuf
from xserve_engine.flexible import FlexibleModel, FlexibleModelSpec, WrongInput
from xserve_engine.launch import BAD_DEFINITION, BAD_WEIGHTS, Refusal

TYPES = {  # of a tensor's elements, in the library's words
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int8)": np.int8,
    "tensor(int16)": np.int16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(uint8)": np.uint8,
    "tensor(uint16)": np.uint16,
    "tensor(uint32)": np.uint32,
    "tensor(uint64)": np.uint64,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}
DAMAGED = (Fail, InvalidGraph, InvalidProtobuf)


def launcher(
    model_uid: str,
    model_spec: FlexibleModelSpec,
    *,
    outputs: list[str] | None = None,
    threads: int = 1,
    device: str | None = None,
) -> FlexibleModel:
    """The graph. `outputs`: those that are answered, else all; `threads`: of each call; `device`: cpu or cuda."""
    if model_spec.model_uri is None:
        raise Refusal(BAD_DEFINITION, "The definition needs a model_uri: the ONNX file.")
    if threads < 1:
        raise Refusal(BAD_DEFINITION, f"threads must be at least 1, not {threads}.")
    return Graph(model_uid, model_spec.model_uri, _providers(device, model_spec.gpus), outputs, threads)


def _providers(device: str | None, gpus: int) -> list[str]:
    """Where the graph is computed: on a card only if it was given one, and the library can."""
    wanted = device or ("cuda" if gpus and "CUDAExecutionProvider" in onnxruntime.get_available_providers() else "cpu")
    known = {"cpu": ["CPUExecutionProvider"], "cuda": ["CUDAExecutionProvider", "CPUExecutionProvider"]}
    providers = known.get(wanted)
    if providers is None or providers[0] not in onnxruntime.get_available_providers():
        raise Refusal(BAD_DEFINITION, f"This onnxruntime cannot compute on {wanted}.")
    return providers


class Graph(FlexibleModel):
    """One graph."""

    def __init__(self, uid: str, path: str, providers: list[str], outputs: list[str] | None, threads: int) -> None:
        super().__init__(uid, path)
        self._providers = providers
        self._outputs = outputs
        self._threads = threads

    def load(self) -> None:
        """Read it. Refuses what is no ONNX, and outputs that the graph lacks."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        try:
            self._session = onnxruntime.InferenceSession(self.model_path, options, self._providers)
        except DAMAGED as error:
            raise Refusal(BAD_WEIGHTS, f"{self.model_path} is no ONNX graph that can be run: {error}.") from error
        self._inputs = {one.name: one for one in self._session.get_inputs()}
        offered = [one.name for one in self._session.get_outputs()]
        if unknown := sorted(set(self._outputs or ()) - set(offered)):
            raise Refusal(BAD_DEFINITION, f"The graph has no output {unknown[0]}; it has {', '.join(offered)}.")
        self._outputs = self._outputs or offered

    def infer(self, *args: Any, **named: Any) -> dict[str, Any]:
        """The outputs for these inputs: by name, or by place in the graph's order."""
        given = {**dict(zip(self._inputs, args, strict=False)), **named}
        if len(args) > len(self._inputs) or given.keys() != self._inputs.keys():
            wanted = ", ".join(f"{name} {one.type} {one.shape}" for name, one in self._inputs.items())
            raise WrongInput(f"The graph takes the inputs {wanted}; given were {', '.join(given) or 'none'}.")
        try:
            feed = {name: np.asarray(value, dtype=TYPES[self._inputs[name].type]) for name, value in given.items()}
            results = self._session.run(self._outputs, feed)
        except (ValueError, TypeError, InvalidArgument) as error:
            raise WrongInput(f"The graph cannot use these inputs: {error}") from error
        return dict(zip(self._outputs or (), results, strict=True))
