"""Makes things that go with a pipeline, self-made and untrained: `python adorn.py WEIGHTS OUT`.

OUT/lora holds a LoRA adapter of seeded random numbers, OUT/control a ControlNet that fits the pipeline's denoiser. A
fresh ControlNet adds nothing, so its last layers get random numbers as well.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from diffusers import ControlNetModel, StableDiffusionPipeline
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict


def adorn(weights: str, out: Path) -> None:
    """Make both."""
    torch.manual_seed(0)
    pipeline = StableDiffusionPipeline.from_pretrained(weights)
    shape = pipeline.unet.config
    control = ControlNetModel(
        block_out_channels=shape.block_out_channels,
        down_block_types=shape.down_block_types,
        layers_per_block=shape.layers_per_block,
        cross_attention_dim=shape.cross_attention_dim,
        attention_head_dim=shape.attention_head_dim,
        norm_num_groups=shape.norm_num_groups,
    )
    for layer in control.controlnet_down_blocks:
        torch.nn.init.normal_(layer.weight, std=0.3)
    torch.nn.init.normal_(control.controlnet_cond_embedding.conv_out.weight, std=1.0)
    control.save_pretrained(out / "control")
    targets = ["to_q", "to_k", "to_v"]
    pipeline.unet.add_adapter(LoraConfig(r=4, lora_alpha=4, init_lora_weights=False, target_modules=targets))
    layers = convert_state_dict_to_diffusers(get_peft_model_state_dict(pipeline.unet))
    StableDiffusionPipeline.save_lora_weights(out / "lora", unet_lora_layers=layers)


if __name__ == "__main__":
    adorn(sys.argv[1], Path(sys.argv[2]))
