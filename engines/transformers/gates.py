"""LoRA adapters, each used by the requests that name it, all in the same batch.

An adapter adds a small product to the output of some layers. All adapters are active at all times, and a gate
behind each product lets it through only for the tokens of the requests that asked for it: a column of ones and
zeros, set anew for every batch. A batch is one long row of tokens, so the column is as long as the batch. That
holds for plain LoRA on layers that see every token; an adapter of another kind is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from sampling import Row
from torch import Tensor
from xserve_engine.launch import BAD_WEIGHTS, NO_BACKEND, Refusal


class Gates:
    """Lets each adapter's product through for its own requests."""

    def __init__(self, network: Any, paths: Mapping[str, str]) -> None:
        """Load the adapters at these paths into the network. Raises `Refusal` for one that cannot be mixed."""
        self._device = network.device
        self._columns: dict[str, Tensor] = {}
        holder: Any = None
        for name, path in paths.items():
            holder = load_adapter(network, holder, name, path)
        holder.base_model.set_adapter(list(paths))
        for layer in lora_layers(network):
            for name, product in layer.lora_B.items():
                product.register_forward_hook(self._gate(name))

    def set(self, batch: Sequence[tuple[Row | None, int]]) -> None:
        """Set the gates for a batch: whose tokens it holds, and how many of each, in order."""
        sizes = torch.tensor([size for _, size in batch], device=self._device)
        for name in self._columns:
            mine = torch.tensor([row is not None and row.adapter == name for row, _ in batch], device=self._device)
            self._columns[name] = mine.repeat_interleave(sizes).reshape(1, -1, 1)

    def admit(self, row: Row) -> None:
        """Let this row's adapter through for whatever is computed now, in layers of any shape."""
        for name in self._columns:
            self._columns[name] = torch.tensor(row.adapter == name, device=self._device)

    def _gate(self, name: str) -> Any:
        self._columns[name] = torch.zeros(1, 1, 1, device=self._device)

        def gate(_: Any, __: Any, product: Tensor) -> Tensor:
            return product * self._columns[name].to(product.dtype)

        return gate


def load_adapter(network: Any, holder: Any, name: str, path: str) -> Any:
    """Put one adapter's layers into the network. Returns peft's holder of them, made for the first one."""
    try:
        from peft import PeftConfig, PeftModel

        _check(name, PeftConfig.from_pretrained(path))
        if holder is None:
            return PeftModel.from_pretrained(network, path, adapter_name=name)
        holder.load_adapter(path, adapter_name=name)
        return holder
    except ImportError as error:
        raise Refusal(NO_BACKEND, f"LoRA adapters need the package peft: {error}.") from error
    except (OSError, ValueError, RuntimeError, TypeError) as error:
        raise Refusal(BAD_WEIGHTS, f"The adapter {name} in {path} does not fit this model: {error}") from error


def _check(name: str, config: Any) -> None:
    """Refuse what adds more than a product to each token's output."""
    unusual = [
        feature
        for feature, used in {
            f"peft type {config.peft_type.value}": config.peft_type.value != "LORA",
            "DoRA": getattr(config, "use_dora", False),
            "trained biases": getattr(config, "bias", "none") != "none",
            "modules_to_save": getattr(config, "modules_to_save", None),
            "target_parameters": getattr(config, "target_parameters", None),
        }.items()
        if used
    ]
    if unusual:
        raise Refusal(NO_BACKEND, f"The adapter {name} uses {unusual[0]}, which cannot be mixed in a batch.")


def lora_layers(network: Any) -> list[Any]:
    """The layers with products. Refuses adapters of embeddings and of the output layer, which see other shapes."""
    from peft.tuners.lora import LoraLayer

    layers = [module for module in network.modules() if isinstance(module, LoraLayer)]
    others = (network.get_input_embeddings(), network.get_output_embeddings())
    if any(layer in others or not layer.lora_B for layer in layers):
        raise Refusal(
            NO_BACKEND, "An adapter changes the embeddings or the output layer, which cannot be mixed in a batch."
        )
    return layers
