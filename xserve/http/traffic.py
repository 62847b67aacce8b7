"""Who serves what: names, replicas, requests in flight. Owned by the event loop's thread, so without locks.

The loop of the daemon publishes models and their endpoints; the proxy resolves a name and enters. A request
enters the ready replica with the fewest requests in flight; among equals they take turns. A replica that is
drained gets no new request, and `on_drained` is called when its last one has ended (at once if it has none).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from xserve.core.exposure import Exposure
from xserve.http.errors import ApiError, retry_after
from xserve.http.meter import Meter

_NAMED_UIDS = 20  # how many uids the answer to an unknown name lists


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Why a model cannot serve at present."""

    status: int
    sentence: str
    retry_after: int | None = None  # seconds; None: coming back will not help

    @classmethod
    def loading(cls, sentence: str, retry_after: int = 30) -> Unavailable:
        """It will serve by itself."""
        return cls(503, f"Model is loading, please retry later: {sentence}", retry_after)

    @classmethod
    def failed(cls, sentence: str) -> Unavailable:
        """It will not serve before somebody acts."""
        return cls(503, sentence)

    def error(self) -> ApiError:
        """The answer to a request."""
        headers = [] if self.retry_after is None else [retry_after(self.retry_after)]
        return ApiError(self.status, self.sentence, code="model_unavailable", headers=headers)


Explanation = Unavailable | Callable[[], Unavailable]


class Replica:
    """One running instance, as traffic sees it."""

    __slots__ = ("address", "draining", "in_flight", "instance", "listed")

    def __init__(self, instance: str, address: str) -> None:
        self.instance = instance
        self.address = address  # path of its unix socket
        self.in_flight = 0
        self.listed = True  # among the endpoints of a published model
        self.draining = False  # for good: a drained instance is never ready again


class Target:
    """A published model."""

    __slots__ = ("_turn", "explanation", "exposure", "meter", "replicas", "uid")

    def __init__(self, uid: str, exposure: Exposure) -> None:
        self.uid = uid
        self.exposure = exposure
        self.replicas: list[Replica] = []
        self.explanation: Explanation | None = None
        self.meter = Meter()
        self._turn = 0

    def choose(self, avoid: Sequence[str]) -> Replica:
        """The replica for the next request. Raises ApiError 503 without a ready one, 429 at the limit."""
        ready = self._ready(avoid)
        if not ready:
            raise self.unavailable().error()
        fewest = min(each.in_flight for each in ready)
        self._refuse_beyond_limit(fewest)
        idlest = [each for each in ready if each.in_flight == fewest]
        self._turn += 1
        return idlest[self._turn % len(idlest)]

    def has_ready(self, avoid: Sequence[str]) -> bool:
        """Whether there is a ready replica besides those in `avoid`."""
        return bool(self._ready(avoid))

    def unavailable(self) -> Unavailable:
        """Why there is no ready replica, in the words of whoever runs them."""
        if self.explanation is None:
            return Unavailable(503, f"No replica of the model {self.uid} is ready.", 5)
        return self.explanation() if callable(self.explanation) else self.explanation

    def _ready(self, avoid: Sequence[str]) -> list[Replica]:
        return [each for each in self.replicas if not each.draining and each.instance not in avoid]

    def _refuse_beyond_limit(self, in_flight: int) -> None:
        limit = self.exposure.request_limit
        if limit is not None and in_flight >= limit:
            raise ApiError(
                429,
                f"Rate limit reached for the model {self.uid}: every replica has {limit} requests in flight.",
                code="rate_limit_exceeded",
                headers=[retry_after(1)],
            )


class Lease:
    """One request's place on a replica, until `release` (which may be called again without effect)."""

    __slots__ = ("_on_idle", "_replica")

    def __init__(self, replica: Replica, on_idle: Callable[[Replica], None]) -> None:
        self._replica: Replica | None = replica
        self._on_idle = on_idle
        replica.in_flight += 1

    @property
    def instance(self) -> str:
        """The replica's instance."""
        assert self._replica is not None
        return self._replica.instance

    @property
    def address(self) -> str:
        """Path of the replica's unix socket."""
        assert self._replica is not None
        return self._replica.address

    def release(self) -> None:
        """The request has ended."""
        replica, self._replica = self._replica, None
        if replica is None:
            return
        replica.in_flight -= 1
        if replica.in_flight == 0:
            self._on_idle(replica)


class Traffic:
    """The table of models, aliases and replicas."""

    def __init__(self, on_drained: Callable[[str], None]) -> None:
        self._on_drained = on_drained
        self._targets: dict[str, Target] = {}
        self._names: dict[str, list[Target]] = {}  # aliases and adapters: who claims it; the first has it
        self._replicas: dict[str, Replica] = {}  # by instance, as long as listed or in use

    def publish(self, uid: str, exposure: Exposure) -> None:
        """Make a model known, or change how it shows itself; its requests in flight go on."""
        target = self._targets.get(uid)
        if target is None:
            target = self._targets[uid] = Target(uid, exposure)
        self._drop_names(target, keep=_names(exposure))
        target.exposure = exposure
        for name in _names(exposure):
            claims = self._names.setdefault(name, [])
            if target not in claims:
                claims.append(target)

    def withdraw(self, uid: str) -> None:
        """Forget a model: its names are unknown from now on. Its requests in flight go on."""
        target = self._targets.pop(uid, None)
        if target is not None:
            self._drop_names(target)
            self._unlist(target.replicas)

    def set_endpoints(self, uid: str, endpoints: Iterable[tuple[str, str]]) -> None:
        """The (instance, address) pairs that are ready. One that is missing gets no new request.

        Raises KeyError for a uid that is not published.
        """
        target = self._targets[uid]
        before = target.replicas
        target.replicas = [self._listed(instance, address) for instance, address in endpoints]
        self._unlist(replica for replica in before if replica not in target.replicas)

    def explain(self, uid: str, explanation: Explanation | None) -> None:
        """Say what clients are told while no replica is ready. Raises KeyError for an unknown uid."""
        self._targets[uid].explanation = explanation

    def resolve(self, name: str) -> Target | None:
        """The model with this uid, alias or adapter; a uid wins over the others."""
        target = self._targets.get(name)
        if target is None and name in self._names:
            return self._names[name][0]
        return target

    def enter(self, uid: str, avoid: Sequence[str] = ()) -> Lease:
        """A place on the idlest ready replica that is not in `avoid`.

        Raises ApiError: 404 unknown, 503 none ready, 429 all at the request limit.
        """
        target = self._targets.get(uid)
        if target is None:
            raise self.unknown(uid)
        return Lease(target.choose(avoid), self._idle)

    def drain(self, instance: str) -> None:
        """Send it no new request; `on_drained` is called when the last one has ended, perhaps right now."""
        replica = self._replicas.get(instance)
        if replica is not None:
            replica.draining = True
        if self.in_flight(instance) == 0:
            self._on_drained(instance)

    def in_flight(self, instance: str) -> int:
        """How many requests the instance serves now."""
        replica = self._replicas.get(instance)
        return replica.in_flight if replica else 0

    def unknown(self, name: str) -> ApiError:
        """The answer to a name that nobody has."""
        known = sorted(uid for uid, target in self._targets.items() if target.replicas)
        listed = ", ".join(known[:_NAMED_UIDS]) + (", ..." if len(known) > _NAMED_UIDS else "")
        message = f"Model not found in the model list, uid: {name}. Available: {listed or 'none'}."
        return ApiError(404, message, code="model_not_found", param="model")

    def targets(self) -> list[Target]:
        """All published models."""
        return list(self._targets.values())

    def _listed(self, instance: str, address: str) -> Replica:
        replica = self._replicas.get(instance)
        if replica is None:
            replica = self._replicas[instance] = Replica(instance, address)
        replica.listed = True
        return replica

    def _unlist(self, replicas: Iterable[Replica]) -> None:
        for replica in replicas:
            replica.listed = False
            self._forget_unused(replica)

    def _idle(self, replica: Replica) -> None:
        """A replica has no request left."""
        self._forget_unused(replica)
        if replica.draining:
            self._on_drained(replica.instance)

    def _forget_unused(self, replica: Replica) -> None:
        if not replica.listed and replica.in_flight == 0:
            self._replicas.pop(replica.instance, None)

    def _drop_names(self, target: Target, keep: Sequence[str] = ()) -> None:
        """Whoever else claims one of them has it from now on: it may have moved, and its new owner come first."""
        for name in set(_names(target.exposure)) - set(keep):
            claims = [claim for claim in self._names.pop(name, ()) if claim is not target]
            if claims:
                self._names[name] = claims


def _names(exposure: Exposure) -> tuple[str, ...]:
    """What a model answers to besides its uid."""
    return (*exposure.aliases, *exposure.adapters)
