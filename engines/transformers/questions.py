"""What a client asks for, read from the body of its request and checked against what this engine does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fields import Body, biases, flag, integer, mapping, number, texts, token_ids
from sampling import Sampling
from xserve_engine.wire import HttpError

MOST_CHOICES = 128
MOST_LOGPROBS = 20  # OpenAI's bound
COLDEST = 1e-5  # a temperature below it would divide logits into infinities: the likeliest token is taken
DEFAULT_LIMIT = 16  # tokens of a completion that names no limit: OpenAI's
# Members that would change the answer and are not done here, each with the values that change nothing.
UNDONE: Mapping[str, tuple[Any, ...]] = {
    "echo": (False,),
    "suffix": ("",),
    "best_of": (1,),
    "use_beam_search": (False,),
    "audio": (),
    "prediction": (),
    "functions": ([],),
    "function_call": ("none",),
}


@dataclass(frozen=True, slots=True)
class Question:
    """Everything of a request but its prompt."""

    sampling: Sampling
    choices: int
    limit: int | None  # tokens of an answer; None: as many as fit
    stops: tuple[str, ...]
    ends: frozenset[int]  # token ids that end the answer
    schema: Mapping[str, Any] | None  # of the answer, {}: any JSON object; None: free text
    stream: bool
    usage: bool  # whether the stream tells it
    adapter: str | None


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds where a request says nothing."""

    sampling: Sampling
    stops: tuple[str, ...]
    stop_ids: frozenset[int]
    ends: frozenset[int]  # the model's own, which hold in any case
    vocabulary: int
    adapters: frozenset[str]


def read_question(body: Body, chat: bool, defaults: Defaults) -> Question:
    """The question in this body. Raises `HttpError` 400 for what is wrong or not done."""
    _refuse_undone(body)
    stops = texts(body, "stop")
    ids = body.get("stop_token_ids")
    declared = defaults.stop_ids if stops is None else frozenset()
    own = declared if ids is None else frozenset(token_ids(ids, "stop_token_ids", defaults.vocabulary))
    model = body.get("model")
    limit = integer(body, "max_completion_tokens", 1) or integer(body, "max_tokens", 1)
    return Question(
        sampling=read_sampling(body, chat, defaults),
        choices=integer(body, "n", 1, MOST_CHOICES) or 1,
        limit=limit if chat else limit or DEFAULT_LIMIT,
        stops=defaults.stops if stops is None else tuple(stops),
        ends=own if flag(body, "ignore_eos") else own | defaults.ends,
        schema=read_schema(body),
        stream=flag(body, "stream"),
        usage=flag(mapping(body, "stream_options"), "include_usage"),
        adapter=model if model in defaults.adapters else None,
    )


def read_sampling(body: Body, chat: bool, defaults: Defaults) -> Sampling:
    """How tokens are to be chosen."""
    usual = defaults.sampling
    top_k = integer(body, "top_k", -1)
    temperature = number(body, "temperature", usual.temperature, 0, 100)
    return Sampling(
        temperature=temperature if temperature >= COLDEST else 0,
        top_p=number(body, "top_p", usual.top_p, 1e-9, 1),
        top_k=usual.top_k if top_k is None else max(top_k, 0),
        min_p=number(body, "min_p", usual.min_p, 0, 1),
        presence=number(body, "presence_penalty", 0, -2, 2),
        frequency=number(body, "frequency_penalty", 0, -2, 2),
        repetition=number(body, "repetition_penalty", usual.repetition, 1e-3, 100),
        bias=biases(body, defaults.vocabulary),
        seed=usual.seed if (seed := integer(body, "seed", -(2**63))) is None else seed,
        logprobs=_logprobs(body, chat),
    )


def read_schema(body: Body) -> Mapping[str, Any] | None:
    """The JSON schema of the answer that `response_format` asks for."""
    wanted = mapping(body, "response_format")
    match wanted.get("type", "text"):
        case "text":
            return None
        case "json_object":
            return {}
        case "json_schema":
            return mapping(mapping(wanted, "json_schema"), "schema")
        case other:
            raise HttpError(400, f"response_format.type must be text, json_object or json_schema, not {other!r}.")


def read_prompts(body: Body, vocabulary: int) -> list[str | list[int]]:
    """The prompts of a completion: a text, texts, token ids, or lists of them."""
    prompt = body.get("prompt")
    if isinstance(prompt, str):
        return [prompt]
    if not isinstance(prompt, list) or not prompt:
        raise HttpError(400, "The prompt must be a text, a list of texts, or token ids.")
    if all(isinstance(one, int) for one in prompt):
        return [token_ids(prompt, "prompt", vocabulary)]
    return [one if isinstance(one, str) else token_ids(one, "prompt", vocabulary) for one in prompt]


def _logprobs(body: Body, chat: bool) -> int | None:
    """How many alternatives are told beside each token: a flag and a number for chats, one number for completions."""
    if not chat:
        return integer(body, "logprobs", 0, MOST_LOGPROBS)
    most = integer(body, "top_logprobs", 0, MOST_LOGPROBS) or 0
    if flag(body, "logprobs"):
        return most
    if most:
        raise HttpError(400, "top_logprobs needs logprobs: true.")
    return None


def _refuse_undone(body: Body) -> None:
    for name, harmless in UNDONE.items():
        value = body.get(name)
        if value is not None and value not in harmless and not (name == "best_of" and value == body.get("n")):
            raise HttpError(400, f"transformers does not do {name}; leave it out.")
