"""Makes LoRA adapters for a model: `python adapter.py WEIGHTS OUT NAME ...`, each OUT/NAME.

They are self-made, of random numbers: they prove which adapter is at work, and nothing about its worth.
"""

from __future__ import annotations

import sys

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText


def main(weights: str, out: str, *names: str) -> None:
    """Make an adapter of each name, strong enough to change what the model says."""
    torch.manual_seed(0)
    sees = hasattr(AutoConfig.from_pretrained(weights), "vision_config")
    kind = AutoModelForImageTextToText if sees else AutoModelForCausalLM
    for name in names:
        model = kind.from_pretrained(weights, dtype=torch.float32)
        config = LoraConfig(r=4, lora_alpha=16, target_modules=["q_proj", "v_proj", "down_proj"], task_type="CAUSAL_LM")
        adapted = get_peft_model(model, config)
        for parameter, values in adapted.named_parameters():
            if "lora_B" in parameter:
                values.data.normal_(0, 0.2)
        adapted.save_pretrained(f"{out}/{name}")


if __name__ == "__main__":
    main(*sys.argv[1:])
