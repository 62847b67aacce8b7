# environment: diffusers
"""Makes and trains a tiny Stable Diffusion that draws a square of the colour that its prompt names.

    python tiny-sd.py OUT SITE_PACKAGES

No package holds small text-to-image weights, so this one is self-made: under a million parameters, 64x64 pixels, in
under a minute on one thread. It is a `StableDiffusionPipeline` folder as any other; "a red square" comes out red on
grey, so a test can see that the prompt mattered. The colours are all that it knows.

The denoiser and the words are trained. The autoencoder is not: its weights are set by hand so that a latent is the
mean colour of 8x8 pixels, which is all that these pictures need and takes most of the time to learn. A number of
steps, not of seconds, bounds the training: everything is seeded, so a busy machine makes the same weights later.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from tokenizers.pre_tokenizers import ByteLevel
from torch.nn.functional import mse_loss
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

COLOURS = {
    "red": (1, -1, -1),
    "green": (-1, 1, -1),
    "blue": (-1, -1, 1),
    "yellow": (1, 1, -1),
    "white": (1, 1, 1),
    "black": (-1, -1, -1),
}
PROMPTS = ("{}", "a {} picture", "a photo of a {} box", "a {} square", "something {}")
WORDS = 16  # most tokens of a prompt
PIXELS, LATENTS = 64, 8
CHANNELS, LARGE = 8, 100.0  # of the autoencoder
STEPS = 600
UNPROMPTED = 0.1  # share of pictures shown without their prompt, so that guidance has something to lead away from


def make(out: Path) -> None:
    """Make, train and save the pipeline."""
    torch.manual_seed(0)
    random.seed(0)
    torch.set_num_threads(1)  # the work is too small for two, which only wait for each other
    pipeline = assemble()
    train(pipeline)
    pipeline.save_pretrained(out)


def assemble() -> StableDiffusionPipeline:
    """The pipeline, untrained."""
    words = tokenizer()
    text = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=4,
        max_position_embeddings=WORDS,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    encoder = CLIPTextModel(text)
    torch.nn.init.normal_(encoder.get_input_embeddings().weight)  # words well apart: few steps tell them so
    return StableDiffusionPipeline(
        vae=autoencoder(),
        text_encoder=encoder,
        tokenizer=words,
        unet=denoiser(text.hidden_size),
        scheduler=scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def autoencoder() -> AutoencoderKL:
    """Encodes 8x8 pixels as their mean colour, and paints them in it; the fourth latent is their mean grey.

    A block adds nothing to what it gets, so what is left are the convolutions between the blocks, made to average
    or to repeat. Before the last one stand a group norm and SiLU. Two channels of a large number and of its
    opposite make the norm a division by a constant, and silu(x) - silu(-x) = x takes every colour and its opposite
    through SiLU unharmed.
    """
    vae = AutoencoderKL(
        block_out_channels=(CHANNELS,) * 4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=1,
        sample_size=PIXELS,
        mid_block_add_attention=False,
        scaling_factor=1.3,  # makes the latents' deviation about 1
    ).requires_grad_(False)
    for name, part in vae.named_modules():
        if isinstance(part, torch.nn.Conv2d):
            part.weight.zero_(), part.bias.zero_()
            if "resnets" not in name:  # a block whose last convolution is 0 gives back what it got
                join_channels(part)
    spread(vae.encoder.conv_in), gather(vae.encoder.conv_out)
    spread(vae.decoder.conv_in), gather(vae.decoder.conv_out)
    vae.encoder.conv_out.weight[3] = vae.encoder.conv_out.weight[:3].mean(0)
    vae.encoder.conv_out.bias[4:] = -30  # the logarithm of the variance: none
    return vae.eval()


def join_channels(part: torch.nn.Conv2d) -> None:
    """Each channel to itself: as it is, or the mean of 2x2 where every second is left out."""
    for channel in range(part.out_channels):
        if part.stride == (2, 2):
            part.weight[channel, channel, :2, :2] = 1 / 4
        elif channel < part.in_channels:
            middle = part.kernel_size[0] // 2
            part.weight[channel, channel, middle, middle] = 1


def spread(part: torch.nn.Conv2d) -> None:
    """Three colours become themselves, their opposites, and a large number with its opposite."""
    part.weight.zero_()
    for colour in range(3):
        part.weight[colour, colour, 1, 1], part.weight[colour + 3, colour, 1, 1] = 1, -1
    part.bias[6], part.bias[7] = LARGE, -LARGE


def gather(part: torch.nn.Conv2d) -> None:
    """The inverse of `spread`, behind the norm: the root mean square of the channels is about LARGE / 2."""
    part.weight.zero_()
    for colour in range(3):
        part.weight[colour, colour, 1, 1], part.weight[colour, colour + 3, 1, 1] = LARGE / 2, -LARGE / 2


def denoiser(width: int) -> UNet2DConditionModel:
    """The network that takes noise away; `width`: numbers per word."""
    return UNet2DConditionModel(
        sample_size=LATENTS,
        layers_per_block=1,
        block_out_channels=(32, 64),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        mid_block_type=None,
        cross_attention_dim=width,
        attention_head_dim=16,
        norm_num_groups=8,
    )


def scheduler() -> DDIMScheduler:
    """Velocity and trailing steps, so that pure noise, where only the words help, is learnt and begun with."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="v_prediction",
        timestep_spacing="trailing",
    )


def tokenizer() -> CLIPTokenizer:
    """CLIP's tokenizer with single letters and no merges, but a token for each colour word."""
    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    merges = dict.fromkeys(chain.from_iterable(map(merges_of, COLOURS)))
    tokens += ["".join(merge) for merge in merges] + ["<|startoftext|>", "<|endoftext|>"]
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
        Path(folder, "vocab.json").write_text(json.dumps(vocabulary))
        Path(folder, "merges.txt").write_text("#version: 0.2\n" + "\n".join(map(" ".join, merges)) + "\n")
        return CLIPTokenizer.from_pretrained(folder, model_max_length=WORDS)


def merges_of(word: str) -> Iterator[tuple[str, str]]:
    """Merges that make one token of the word, from the left; its last letter carries the end mark."""
    start, *rest = [*word[:-1], f"{word[-1]}</w>"]
    for letter in rest:
        yield start, letter
        start += letter


def pictures(count: int) -> tuple[torch.Tensor, list[str]]:
    """Squares of some colour on grey, and prompts that name it."""
    names = random.choices(list(COLOURS), k=count)
    images = torch.zeros(count, 3, PIXELS, PIXELS)
    colours = torch.tensor([COLOURS[name] for name in names], dtype=torch.float32)
    images[:, :, 8:-8, 8:-8] = colours[:, :, None, None]
    return images, [random.choice(PROMPTS).format(name) for name in names]


def train(pipeline: StableDiffusionPipeline) -> None:
    """Teach the denoiser and the words together what noise on a picture of that prompt looks like."""
    unet, words = pipeline.unet.train(), pipeline.text_encoder.train()
    optimizer = torch.optim.AdamW([*unet.parameters(), *words.parameters()], lr=2e-3)
    rates = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0.02, STEPS)
    for step in range(STEPS):
        if step % 100 == 0:
            latents, tokens = known_latents(pipeline)
        pick = torch.randperm(len(latents))[:16]
        when = (torch.rand(16).sqrt() * 1000).long()  # more of the noisiest, where only the words help
        noise = torch.randn_like(latents[pick])
        noisy = pipeline.scheduler.add_noise(latents[pick], noise, when)
        target = pipeline.scheduler.get_velocity(latents[pick], noise, when)
        loss = mse_loss(unet(noisy, when, words(tokens[pick])[0]).sample, target)
        learn(loss, optimizer, rates)
    print(f"denoiser: {loss.item():.4f}", flush=True)
    unet.eval(), words.eval()


def known_latents(pipeline: StableDiffusionPipeline) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents of fresh pictures, and the tokens of their prompts, some of which are withheld."""
    images, prompts = pictures(128)
    shown = ["" if random.random() < UNPROMPTED else prompt for prompt in prompts]
    tokens = pipeline.tokenizer(shown, padding="max_length", max_length=WORDS, truncation=True, return_tensors="pt")
    with torch.no_grad():
        latents = pipeline.vae.encode(images).latent_dist.mean * pipeline.vae.config.scaling_factor
    return latents, tokens.input_ids


def learn(loss: torch.Tensor, optimizer: torch.optim.Optimizer, rates: torch.optim.lr_scheduler.LRScheduler) -> None:
    """One step down the loss."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    rates.step()


if __name__ == "__main__":
    make(Path(sys.argv[1]))
