"""What a replica reports from its start to its end, with real processes."""

from __future__ import annotations

import signal
from pathlib import Path

from xserve.core.events import Answered, Exited, Loaded, Spawned, Unhealthy

from .conftest import PROBE, Bench, command, launch, lives, until


async def test_events_come_in_order_and_the_probe_names_the_model(bench: Bench) -> None:
    bench.runtime.start("one", launch("my model"), command(probe=PROBE))
    await bench.event(Answered)
    bench.runtime.stop("one")
    end = await bench.exit()

    assert [type(event) for event in bench.events] == [Spawned, Loaded, Answered, Exited]
    assert bench.events[2] == Answered("one", probed=True)
    assert end.signal == signal.SIGTERM
    assert 'probe /v1/probe {"model": "my model", "messages": [{"name": "my model"}]}' in end.log_tail
