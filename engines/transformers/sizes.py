"""How large the cache and the steps of the library's continuous batching are.

On a processor nothing is left to the library's guess: it would take most of the free memory. Left out, the cache
holds one request of full length, and a step reads 256 tokens of prompts (135 million parameters on one thread:
0.8 s). On a card the library measures what is free beside the weights, of which `gpu_memory` says how much to take.
"""

from __future__ import annotations

from typing import Any

import torch
from loading import Model
from settings import Settings
from transformers import ContinuousBatchingConfig
from xserve_engine.launch import BAD_OPTION, Refusal

STEP_OF_PROCESSOR, STEP_OF_CARD = 256, 2_048  # tokens


def batching_config(settings: Settings, model: Model) -> ContinuousBatchingConfig:
    """The sizes for this model. Refuses a `gpu_memory` that the weights alone use up."""
    options, card = settings.options, model.network.device.type == "cuda"
    page = options["page_size"]
    blocks = options["num_blocks"]
    if blocks is None and not card:
        blocks = -(-model.length // page) + 1
    step = options["max_batch_tokens"] or (STEP_OF_CARD if card else STEP_OF_PROCESSOR)
    return ContinuousBatchingConfig(
        page_size=page,
        num_blocks=blocks,
        max_batch_tokens=step,
        max_requests_per_batch=min(options["max_requests"], step),
        max_memory_percent=_share(settings, model) if card and blocks is None else None,
        allow_block_sharing=not settings.adapters,  # the library's cache knows prompts, not who read them
        use_cuda_graph=False,
        use_async_batching=False,
        auto_switch_to_flash=options["attn_implementation"] is None,
    )


def _share(settings: Settings, model: Model) -> float | None:
    """The share of the card's free memory that the cache may take; None: the library's default."""
    if settings.gpu_memory is None:
        return None
    device: Any = model.network.device
    free, total = torch.cuda.mem_get_info(device)
    wanted = settings.gpu_memory
    budget = wanted * total if wanted <= 1 else wanted
    left = budget - torch.cuda.memory_reserved(device)
    if left <= 0:
        raise Refusal(BAD_OPTION, f"The weights alone take more than gpu_memory allows ({budget / 2**30:.1f} GiB).")
    return min(left / free, 1.0)
