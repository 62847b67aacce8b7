"""A daemon to be killed: runs one engine, says `ready`, later how it ended, and waits.

python daemon.py RUN_DIR SOCKET_DIR POLICY [server option ...]
"""

import asyncio
import sys
from pathlib import Path

from xserve.core.events import Answered, Event, Exited
from xserve.core.launch import Launch
from xserve.core.ports import Command
from xserve.runtime.local import LocalRuntime
from xserve.runtime.settings import RuntimeSettings

SERVER = str(Path(__file__).parent / "server.py")


def report(event: Event) -> None:
    if isinstance(event, Answered):
        print("ready", flush=True)
    if isinstance(event, Exited):
        print(f"exited out_of_memory={event.exit.out_of_memory} signal={event.exit.signal}", flush=True)


async def main() -> None:
    run_dir, sockets, policy, *options = sys.argv[1:]
    settings = RuntimeSettings(policy="keep" if policy == "keep" else "stop", adopt_timeout=60.0)
    runtime = LocalRuntime(Path(run_dir), Path(sockets), report, settings)
    command = Command((sys.executable, "-I", "-S", SERVER, "{socket}", *options), (), "/health", None, 3600.0)
    runtime.start("one", Launch("chat", "fake", "LLM", "m", "", "", "", "", {}), command)
    await asyncio.Event().wait()


asyncio.run(main())
