# environment: audio
"""A VITS voice of random numbers, letters in, noise out: no package holds a trained one in transformers' layout."""

from __future__ import annotations

import json
import string
import sys
from pathlib import Path

import torch
from transformers import VitsConfig, VitsModel, VitsTokenizer

LETTERS = " " + string.ascii_lowercase + "'-,.!?"


def main(out: Path) -> None:
    """Write the folder `out`."""
    torch.manual_seed(0)
    out.mkdir(parents=True, exist_ok=True)
    words = {"<pad>": 0, "<unk>": 1, **{letter: place for place, letter in enumerate(LETTERS, 2)}}
    vocabulary = out / "vocab.json"
    vocabulary.write_text(json.dumps(words))
    VitsTokenizer(str(vocabulary), phonemize=False, is_uroman=False).save_pretrained(out)
    config = VitsConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        ffn_dim=64,
        flow_size=32,
        spectrogram_bins=65,
        upsample_initial_channel=32,
        prior_encoder_num_flows=2,
        posterior_encoder_num_wavenet_layers=2,
        prior_encoder_num_wavenet_layers=2,
        duration_predictor_num_flows=2,
        num_speakers=2,
        speaker_embedding_size=16,
        noise_scale=0.0,  # the same every time, so that answers can be compared
        noise_scale_duration=0.0,
    )
    VitsModel(config).save_pretrained(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
