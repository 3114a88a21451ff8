"""What a server writes to its log: no tokens, and JSON where that is asked for.

    WEIR_LOG_FORMAT=json   one object a line: {"time", "level", "logger", "process", "message"}; of
                           a request also {"client", "method", "path", "status"}; of an error its
                           "traceback"

In either form the address of a shared link or an invitation is cut: what follows ``/weir/s/`` is
all that opening it takes. In JSON secrets that have a form of their own are taken out too, by the
redactor that what Weir captures goes through. That holds for all loggers whose lines go to the
handlers that are there when the extension comes: MLflow's, uvicorn's, gunicorn's and Weir's.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

from mlflow_weir.redaction import Redactor
from mlflow_weir.settings import LOG_FORMAT, REDACT

_TOKEN = re.compile(r"(/weir/s/)[^/?#\s\"']+")
_CUT = r"\1[redacted]"
_MAX_CHARACTERS = 16_384


def start() -> None:
    """Have this process's log lines written so, from now on."""
    for handler in _handlers():
        if not any(isinstance(one, _WithoutTokens) for one in handler.filters):
            handler.addFilter(_WithoutTokens())
        if LOG_FORMAT.get() == "json":
            handler.setFormatter(JsonLines())


def _handlers() -> Iterator[logging.Handler]:
    yield from logging.getLogger().handlers
    for logger in list(logging.Logger.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            yield from logger.handlers
    if logging.lastResort is not None:  # where nobody has configured anything
        yield logging.lastResort


class _WithoutTokens(logging.Filter):
    """Cuts the tokens of links out of what is about to be written."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = _cut(record.msg)
        if isinstance(record.args, tuple):
            record.args = tuple(map(_cut, record.args))
        elif isinstance(record.args, dict):  # gunicorn's, which has ways of its own
            for name, one in record.args.items():
                record.args[name] = _cut(one)
        return True


def _cut(value: Any) -> Any:
    return _TOKEN.sub(_CUT, value) if isinstance(value, str) else value


def _request_of(record: logging.LogRecord) -> tuple[Any, Any, Any, Any] | None:
    """Return client, method, path and status of a line of an access log; None of another."""
    of = record.args
    if record.name == "uvicorn.access" and isinstance(of, tuple) and len(of) == 5:
        client, method, path, _, status = of
        return client, method, path, status
    if record.name == "gunicorn.access" and isinstance(of, dict):
        return of["h"], of["m"], of["U"], of["s"]
    return None


class JsonLines(logging.Formatter):
    """Writes a record as one line of JSON."""

    def __init__(self) -> None:
        super().__init__()
        self._redactor = Redactor(REDACT.get())

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        when = datetime.fromtimestamp(record.created, timezone.utc)
        line: dict[str, object] = {
            "time": when.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": self._clean(record.getMessage()),
        }
        request = _request_of(record)
        if request is not None:
            client, method, path, status = request
            line |= {"client": client, "method": method, "status": int(status)}
            line["path"] = self._clean(str(path).partition("?")[0])
        if record.exc_info and record.exc_info[0] is not None:
            line["traceback"] = self._clean(self.formatException(record.exc_info))
        return json.dumps(line, default=str)

    def _clean(self, text: str) -> str:
        # Another each time: a key that is cut off in one message does not go on in the next.
        return self._redactor.another().text(_TOKEN.sub(_CUT, text[:_MAX_CHARACTERS]))
