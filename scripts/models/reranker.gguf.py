# environment: none
# made of: reranker
"""The model `reranker` beside it as GGUF: `python reranker.gguf.py OUT SITE_PACKAGES`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from bert_to_gguf import convert

if __name__ == "__main__":
    out = Path(sys.argv[1])
    convert(out.parent / "reranker", out, rank=True)
