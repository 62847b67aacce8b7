"""Field types that definitions and deploy files share: names, source text, sizes, durations, places of weights."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

_FORBIDDEN_IN_NAMES = re.compile(r"[+\\/?%#&=\s\x00-\x1f\x7f-\x9f]")
_SIZE = re.compile(r"\d+(_\d+)?")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_LONGEST = 10 * 365 * 24 * 3600.0  # ten years: more is a slip of the pen
_MEMORY = re.compile(r"(\d+(?:\.\d+)?) ?([KMGT]i?B)")
_BYTES = {
    f"{prefix}{unit}": base**power
    for power, prefix in enumerate("KMGT", 1)
    for unit, base in (("B", 1000), ("iB", 1024))
}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def source_text(value: Any) -> Any:
    """The text as it stands in the file: a number that the parser read keeps its digits (`0_5`, `0123`)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return getattr(value, "source", None) or str(value)


def check_name(name: str) -> str:
    """A name of a registration: Xinference's rule as coded, plus no control characters and no leading dash."""
    if not name or name in {".", ".."} or name.startswith("-"):
        raise ValueError(f"{name!r} is not a usable name; start it with a letter or a digit")
    bad = _FORBIDDEN_IN_NAMES.search(name)
    if bad:
        raise ValueError(f"a name cannot hold {bad.group()!r}; use letters, digits, '-', '_' and '.'")
    return name


def check_uid(uid: str) -> str:
    """A public name: a name of 1 to 100 characters that does not look like one of a replica (`x-rep0`)."""
    check_name(uid)
    if len(uid) > 100:
        raise ValueError(f"a public name has at most 100 characters, this one has {len(uid)}")
    if re.search(r"-rep\d+$", uid):
        raise ValueError("a public name cannot end in '-rep' and a number: replicas are called so")
    return uid


def check_variable(name: str) -> str:
    """A name of an environment variable: what the system can hand over."""
    if not name or "=" in name or "\x00" in name:
        raise ValueError(f"{name!r} cannot name an environment variable")
    return name


def check_variable_value(value: str) -> str:
    """A value of an environment variable: what the system can hand over."""
    if "\x00" in value:
        raise ValueError("the value of an environment variable cannot hold a NUL character")
    return value


def check_size(size: str) -> str:
    """`model_size_in_billions`: digits, with `_` for the decimal point, as Xinference writes it."""
    if not _SIZE.fullmatch(size):
        hint = f"; write {size.replace('.', '_')!r}" if re.fullmatch(r"\d+\.\d+", size) else ""
        raise ValueError(f"{size!r} is not a size in billions, such as 7 or 0_5{hint}")
    return size


def check_uri(uri: str) -> str:
    """A place of weights: an absolute path, bare or as `file://`. Other schemes are refused, not kept for later."""
    scheme = _SCHEME.match(uri)
    if scheme and scheme.group(1).lower() != "file":
        raise ValueError(f"unknown scheme {scheme.group(1)}://; give an absolute path or file:///absolute/path")
    if not path_of(uri).startswith("/"):
        raise ValueError(f"{uri!r} is a relative path; give an absolute path or file:///absolute/path")
    if "\x00" in uri:
        raise ValueError("a path cannot hold a NUL character")
    return uri


def check_folder(path: str) -> str:
    """A folder in the settings: an absolute path, as nobody knows from where a daemon is started."""
    if not path.startswith("/") or "\x00" in path:
        raise ValueError(f"{path!r} is not an absolute path; give one")
    return path


def path_of(uri: str) -> str:
    """The path that a checked `model_uri` names."""
    return uri[len("file://") :] if uri.lower().startswith("file://") else uri


def parse_duration(value: Any) -> float:
    """`500ms`, `30s`, `10m`, `1.5h`, or a number of seconds -> seconds."""
    seconds = value
    if isinstance(value, str) and (found := _DURATION.fullmatch(value)):
        seconds = float(found.group(1)) * _SECONDS[found.group(2)]
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= _LONGEST:
        raise ValueError(f"{value!r} is not a duration; write for example 500ms, 30s, 10m or 1h")
    return float(seconds)


def parse_memory(value: Any) -> int | float:
    """`14GiB`, `900MB` -> bytes; a share of a card, more than 0 and at most 1, stays one."""
    if isinstance(value, str) and (found := _MEMORY.fullmatch(value)):
        return int(float(found.group(1)) * _BYTES[found.group(2)])
    share = not isinstance(value, bool) and isinstance(value, int | float) and 0 < value <= 1
    if not share and not (isinstance(value, int) and value > _BYTES["MiB"]):
        raise ValueError(f"{value!r} is no amount of memory; write for example 14GiB, or 0.45 for a share of each card")
    return float(value) if share else value


def counted(number: int, one: str, many: str = "") -> str:
    """`1 file`, `2 files`; `many` is the plural where an s does not make it."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def in_one_sentence(sentence: str) -> WrapValidator:
    """For a union: this sentence in place of one complaint per member."""

    def check(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError as error:
            raise ValueError(sentence) from error

    return WrapValidator(check)


Text = Annotated[str, BeforeValidator(source_text)]
"""Text that may be written as a number: its digits are kept."""
Name = Annotated[Text, AfterValidator(check_name)]
Uid = Annotated[Text, AfterValidator(check_uid)]
Size = Annotated[Text, AfterValidator(check_size)]
Folder = Annotated[str, AfterValidator(check_folder)]
Uri = Annotated[Text, AfterValidator(check_uri)]
Variable = Annotated[str, AfterValidator(check_variable)]
VariableValue = Annotated[Text, AfterValidator(check_variable_value)]
Memory = Annotated[int | float, BeforeValidator(parse_memory)]
"""Bytes, or a share of each card as a fraction."""
Seconds = Annotated[float, BeforeValidator(parse_duration)]
"""A duration; in Python a number of seconds."""
