"""What the libraries themselves say of texts: run by an engine's interpreter, JSON in, JSON out.

Every question is asked for one text or pair at a time, in 32-bit floats, and without any of the engine's code.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from transformers import AutoModelForCausalLM, AutoTokenizer

TASK = "Given a web search query, retrieve relevant passages that answer the query"
BGE = (
    "Given a query A and a passage B, determine whether the passage contains an answer to the query by providing a "
    "prediction of either 'Yes' or 'No'."
)
QWEN3 = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
)


def embed(weights: str, texts: list[str], **how: Any) -> dict[str, Any]:
    """Vectors, and the tokens of each text."""
    model = SentenceTransformer(weights, device="cpu", local_files_only=True)
    vectors = [model.encode(text, **how).tolist() for text in texts]
    return {"vectors": vectors, "tokens": [model.tokenizer(text)["input_ids"] for text in texts]}


def predict(weights: str, pairs: list[tuple[str, str]]) -> list[float]:
    """Scores of a cross-encoder."""
    model = CrossEncoder(weights, device="cpu", local_files_only=True)
    return [float(model.predict([pair])[0]) for pair in pairs]


@torch.inference_mode()
def judge(weights: str, pairs: list[tuple[str, str]], form: str) -> list[float]:
    """Probabilities of "yes" as the model cards of both families compute them."""
    tokenizer = AutoTokenizer.from_pretrained(weights)
    model = AutoModelForCausalLM.from_pretrained(weights, dtype=torch.float32).eval()

    def tokens(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    def score(query: str, document: str) -> float:
        if form == "qwen3":
            body = f"<Instruct>: {TASK}\n<Query>: {query}\n<Document>: {document}"
            ids = tokens(QWEN3) + tokens(body) + tokens("<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n")
            last = model(torch.tensor([ids])).logits[0, -1]
            both = last[[tokens("no")[0], tokens("yes")[0]]]
            return float(torch.softmax(both, dim=0)[1])
        ids = [tokenizer.bos_token_id, *tokens(f"A: {query}"), *tokens("\n"), *tokens(f"B: {document}")]
        ids += tokens("\n") + tokens(BGE)
        return float(torch.sigmoid(model(torch.tensor([ids])).logits[0, -1, tokens("Yes")[0]]))

    return [score(*pair) for pair in pairs]


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    print(json.dumps({"embed": embed, "predict": predict, "judge": judge}[asked.pop("what")](**asked)))
