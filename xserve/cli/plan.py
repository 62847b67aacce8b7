"""`plan`: what would change. The daemon tells; where none runs, the files alone do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from xserve.cli.client import Client, NoDaemonError
from xserve.cli.command import Arguments, Command, CommandError, Exit, Parser, add_daemon, add_json
from xserve.cli.locate import locate
from xserve.cli.output import print_json, print_problems, say, table


def plan_options(parser: Parser) -> None:
    """What to add to the files for the plan."""
    parser.add_argument(
        "--with",
        dest="files",
        action="append",
        type=Path,
        default=[],
        metavar="FILE",
        help="Plan as if FILE stood in the config directory; repeatable.",
    )
    parser.add_argument(
        "--as", dest="as_path", metavar="PATH", help="Where FILE would stand; it takes that file's place."
    )
    add_daemon(parser)
    add_json(parser)


def run_plan(args: Arguments) -> int:
    """3 if something would change, 1 if an input is rejected."""
    if args.as_path and len(args.files) != 1:
        raise CommandError("--as needs exactly one --with FILE.", Exit.USAGE)
    plan = compute(args, [candidate(file, args.as_path) for file in args.files])
    rejected = print_problems(plan["problems"])
    print_json(plan) if args.json else print(render(plan))
    if rejected:
        return Exit.FAILED
    return Exit.CHANGES if plan["actions"] else Exit.DONE


def candidate(file: Path, as_path: str | None) -> dict[str, str]:
    """A file that does not stand in the config directory yet. Raises CommandError if it cannot be read."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"cannot read {file}: {getattr(error, 'strerror', error)}") from error
    return {"path": os.path.abspath(as_path or file), "text": text}


def compute(args: Arguments, candidates: list[dict[str, str]]) -> dict[str, Any]:
    """The plan, asked of the daemon or computed from the files."""
    target = locate(args)
    try:
        plan: dict[str, Any] = Client(target).post("/xserve/v1/plan", {"candidates": candidates})
    except NoDaemonError:
        if target.elsewhere:
            raise
        say("No daemon runs; this is what one would do at its start.")
        plan = compute_offline(args.config_dir, candidates)
    return plan


def compute_offline(config: str | None, candidates: list[dict[str, str]]) -> dict[str, Any]:
    """The plan from the files alone."""
    from xserve.core.views import Candidate  # these bring pydantic and yaml
    from xserve.daemon.planning import plan_offline

    return plan_offline(config, [Candidate(**it) for it in candidates]).model_dump(mode="json")


def render(plan: dict[str, Any]) -> str:
    """Actions with their reasons, then what waits."""
    if not plan["actions"] and not plan["waiting"]:
        return "nothing to do"
    lines = []
    if plan["actions"]:
        lines.append(table(("ACTION", "MODEL", "WHAT", "REASON"), map(_row, plan["actions"])))
    lines += [f"{it['model']} waits: {it['message']} ({it['reason']})" for it in plan["waiting"]]
    return "\n".join(lines)


def _row(action: dict[str, Any]) -> tuple[str | None, ...]:
    start = f"{action['revision']} replica {action['replica']}" if action["revision"] else None
    return action["action"], action["model"], action["instance"] or start, action["reason"]


COMMANDS = {
    "plan": Command(
        run_plan,
        plan_options,
        "Says what the daemon would start, stop and publish, and why, without doing it. Exits 3 if there is "
        "something to do, 0 if not, 1 if a file is rejected.",
        "xserve plan\nxserve plan --with new-deploy.yaml --as deploy.yaml",
    )
}
