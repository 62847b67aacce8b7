# environment: transformers
# made of: smollm2-hf
"""A tiny vision-language model of random numbers: `python tiny-vlm.py OUT SITE_PACKAGES`.

No package holds a small real one. This one has the architecture Idefics3 (that of SmolVLM), whose images are read
without torchvision, and the words of the model `smollm2-hf` beside it. Its answers are nonsense, but a picture goes
the whole way: another one gives another answer, because the output layer is made loud enough for the picture to
decide the words.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import (
    AutoTokenizer,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessorPil,
    Idefics3Processor,
    LlamaConfig,
)

SIDE, PATCH, SCALE = 56, 7, 2  # pixels; 8 x 8 patches, put together to 4 x 4
TOKENS = (SIDE // PATCH // SCALE) ** 2  # of a picture
MARKS = ["<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>"]
GRID = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
TEMPLATE = """\
{%- for message in messages -%}
    {{- '<|im_start|>' + message.role + '\\n' -}}
    {%- if message.content is string -%}
        {{- message.content -}}
    {%- else -%}
        {%- for part in message.content -%}
            {{- '<image>' if part.type in ('image', 'image_url') else part.text -}}
        {%- endfor -%}
    {%- endif -%}
    {{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""


def words(folder: Path) -> Any:
    """The tokenizer in this folder with the marks of pictures."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": [*MARKS, *GRID]})
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def model(tokenizer: Any) -> Any:
    """The model, of seeded random numbers."""
    torch.manual_seed(0)
    ends = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    sight = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": SIDE,
        "patch_size": PATCH,
        "model_type": "idefics3_vision",
    }
    speech = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=64,
        max_position_embeddings=2048,
        **ends,
    )
    made = Idefics3ForConditionalGeneration(
        Idefics3Config(
            image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
            scale_factor=SCALE,
            tie_word_embeddings=False,
            pad_token_id=tokenizer.pad_token_id,
            vision_config=sight,
            text_config=speech,
        )
    ).eval()
    with torch.no_grad():
        made.get_output_embeddings().weight.normal_()
    return made


def main(out: Path) -> None:
    """Write the folder."""
    transformers.logging.set_verbosity_error()
    tokenizer = words(out.parent / "smollm2-hf")
    longest = {"longest_edge": SIDE}
    images = Idefics3ImageProcessorPil(size=longest, max_image_size=longest, do_image_splitting=False)
    model(tokenizer).save_pretrained(out)
    Idefics3Processor(images, tokenizer, image_seq_len=TOKENS, chat_template=TEMPLATE).save_pretrained(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
