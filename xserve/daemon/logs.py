"""The daemon's own log, on standard error: lines for people, or JSON objects for machines."""

from __future__ import annotations

import json
import logging
import sys
import time


class JsonFormatter(logging.Formatter):
    """One JSON object a line; an event's data goes along."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        row = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        event = getattr(record, "event", None)
        if event is not None:
            row |= {key: event[key] for key in ("kind", "model", "reason", "data")}
        if record.exc_info:
            row["traceback"] = self.formatException(record.exc_info)
        return json.dumps(row, ensure_ascii=False)


def set_up_logging(level: str, log_format: str) -> None:
    """`level`: debug, info, warning or error; `log_format`: text or json."""
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")
    handler.setFormatter(JsonFormatter() if log_format == "json" else text)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # What clients send amiss is told to them; the server's advice to install packages is for nobody here.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    # Every inference request would be a line: only where somebody asked for that much.
    logging.getLogger("xserve.access").setLevel(logging.INFO if level == "debug" else logging.WARNING)
