"""What is there: instances, what is remembered of failures, and the names that are answered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from xserve.core.exposure import Exposure
from xserve.core.lifecycle import Instance, Record, State
from xserve.core.ports import Gpu


@dataclass(frozen=True, slots=True)
class Observed:
    """A snapshot of the world, as the loop knows it."""

    instances: Mapping[str, Instance] = field(default_factory=dict)  # by instance id
    records: Mapping[tuple[str, str], Record] = field(default_factory=dict)  # by (uid, revision)
    exposures: Mapping[str, Exposure] = field(default_factory=dict)  # what is published now
    gpus: tuple[Gpu, ...] = ()
    _of: Mapping[str, list[Instance]] = field(init=False, repr=False, compare=False)
    """The instances by deployment: every deployment asks for its own, several times a pass."""

    def __post_init__(self) -> None:
        groups: dict[str, list[Instance]] = {}
        for instance in sorted(self.instances.values(), key=_age):
            groups.setdefault(instance.uid, []).append(instance)
        object.__setattr__(self, "_of", groups)

    def of(self, uid: str) -> list[Instance]:
        """The instances of a deployment, oldest first."""
        return list(self._of.get(uid, ()))

    def uids(self) -> Iterator[str]:
        """Every public name that has an instance or is published, each once."""
        seen = dict.fromkeys(self.exposures) | dict.fromkeys(each.uid for each in self.instances.values())
        return iter(seen)

    def taken(self) -> list[int]:
        """GPU indices that instances hold, with repetition."""
        return [gpu for each in self.instances.values() for gpu in each.gpus]


def ready(instances: list[Instance]) -> list[Instance]:
    """Those that take requests."""
    return [each for each in instances if each.state is State.READY]


def _age(instance: Instance) -> tuple[float, str]:
    return (instance.started, instance.id)
