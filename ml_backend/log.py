"""Log lines: JSON or one line of text; secrets, phone numbers and control characters never get through.

The lines of all libraries pass through here, because their exceptions can contain phone numbers. Values are masked by
name (`token`, `secret`, ...), by value (every secret in the settings) and by shape (a run of eight or more digits).
Control characters are escaped, so that a name cannot forge log lines.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TextIO

import structlog
from pydantic import SecretStr
from structlog.typing import Processor

from ml_backend import setting_values
from ml_backend.settings import Settings

MASK = "***"
_SECRET_NAMES = re.compile(r"secret|token|passw|api_?key|authorization|cookie|credential", re.IGNORECASE)
_SECRET_SHAPES = re.compile(r"(?i)\b(bearer|basic|token)(\s+)[A-Za-z0-9+/=_.\-]{8,}|://[^/\s:@]*:[^/\s@]+@")
_LONG_HEX = re.compile(r"\b(?=[0-9a-f-]*[a-f])[0-9a-f]{24,}\b|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_NUMBER = re.compile(
    r"(?:\+|%2B)\d{1,3}(?:(?:[ \-]|%20)?\d){7,}|\d{8,}"
    r"|(?<!\d)(?:\d{2}(?:[ \-.]|%20)){4}\d{2}(?!\d)"  # 98 76 54 32 10
    r"|(?<!\d)\d{4,6}(?:[ \-]|%20)\d{5,6}(?!\d)|(?<!\d)\d{3,4}(?:[ \-]|%20)\d{3}(?:[ \-]|%20)\d{3,4}(?!\d)"
    r"|\(\d{2,5}\) ?\d{3,5}[ \-]?\d{3,5}"
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def get(name: str) -> Any:
    """A logger: `log.get("relay").info("handed over", job=5)`. Masks by name and shape even before `configure`."""
    return structlog.wrap_logger(
        logging.getLogger(f"kaan.{name}"),
        wrapper_class=_Logger,
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared(_Masker(())),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
    )


def configure(settings: Settings, role: str, *, stream: TextIO | None = None, quiet: bool = False) -> None:
    """Send every log line of this process to `stream` (standard error). Call it once, at the start of a process.

    `quiet` is for a command that prints its own progress: at level INFO, our own code logs only warnings.
    """
    stream = stream or sys.stderr
    as_json = settings.log_format == "json" or (settings.log_format == "auto" and not stream.isatty())
    mask = _Masker(_secret_values(settings))
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_shared(mask),  # lines of other libraries
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            mask,
            _Renderer(role, as_json=as_json),
        ],
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    logging.getLogger("kaan").setLevel(logging.WARNING if quiet and root.level == logging.INFO else logging.NOTSET)
    for noisy in ("rq.worker", "rq.job", "httpx", "httpcore", "urllib3", "faster_whisper", "alembic"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))


_about: ContextVar[Mapping[str, Any]] = ContextVar("about")
_members: ContextVar[Mapping[tuple[str, Any], str]] = ContextVar("members")


@contextmanager
def about(*, members: Mapping[tuple[str, Any], str] | None = None, **ids: Any) -> Iterator[None]:
    """Every line of this block, of libraries too, has these ids. `trace` is the id of the request that began it all.

    `members` are the arguments of jobs that run together, each with the trace of its own request.
    """
    set_ids = _about.set({**_about.get({}), **{name: value for name, value in ids.items() if value is not None}})
    set_members = _members.set(members or {})
    try:
        yield
    finally:
        _about.reset(set_ids)
        _members.reset(set_members)


def begin_request(request: str) -> None:
    """The lines of this thread are about this request, until it ends."""
    _about.set({"trace": request})


def end_request() -> None:
    """What this thread does next belongs to no request."""
    _about.set({})


def trace(arguments: Mapping[str, Any] | None = None) -> str | None:
    """The id that a job with these arguments inherits from what makes it now; None where nothing is going on."""
    members = _members.get({})
    for name, value in (arguments or {}).items():
        if isinstance(value, str | int) and (name, value) in members:
            return members[name, value]
    found = _about.get({}).get("trace")
    return str(found) if found is not None else None


def say_seldom(name: str, words: str, *, every_s: float = 60.0) -> None:
    """Let a library's logger say these words once a minute at most."""
    logging.getLogger(name).addFilter(_Seldom(words, every_s))


class Lasting:
    """A lasting problem in a loop: logged when it begins and once a minute after."""

    def __init__(self, every_s: float = 60.0, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._every_s, self._clock = every_s, clock
        self._said_at: float | None = None

    def is_news(self) -> bool:
        """Whether to log it now; call it each time the problem occurs."""
        now = self._clock()
        if self._said_at is not None and now - self._said_at < self._every_s:
            return False
        self._said_at = now
        return True

    def is_over(self) -> bool:
        """True once after the problem has ended; call it after each successful round."""
        problem_ended, self._said_at = self._said_at is not None, None
        return problem_ended


def masked(text: str, *, secrets: tuple[str, ...] = ()) -> str:
    """The text without secrets and phone numbers; ids of 24 and more hex digits stay readable."""
    for secret in secrets:
        text = text.replace(secret, MASK)
    text = _SECRET_SHAPES.sub(lambda m: f"{m[1]}{m[2]}{MASK}" if m[1] else f"://{MASK}@", text)
    pieces, at = [], 0
    for kept in _LONG_HEX.finditer(text):
        pieces += [_NUMBER.sub(_last_two, text[at : kept.start()]), kept[0]]
        at = kept.end()
    return "".join([*pieces, _NUMBER.sub(_last_two, text[at:])])


def _last_two(number: re.Match[str]) -> str:
    return f"{MASK}{number[0][-2:]}"


def escaped(text: str) -> str:
    """The text on one line: control and direction characters are shown as codes."""
    return _CONTROL.sub(lambda m: {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(m[0], f"\\u{ord(m[0]):04x}"), text)


def _shared(mask: Processor) -> list[Processor]:
    return [
        _ids,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _exceptions,
        mask,
    ]


def _ids(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in _about.get({}).items():
        event.setdefault(name, value)
    return event


class _Logger(structlog.stdlib.BoundLogger):
    """structlog's, but a traceback reaches the library's logger as masked text, never as the exception itself."""

    def exception(self, event: str | None = None, *arguments: Any, **fields: Any) -> Any:
        return self.error(event, *arguments, **{"exc_info": True} | fields)


class _Masker:
    """The structlog processor that cleans every value of a line."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        self.secrets = secrets

    def __call__(self, logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        for name, value in event.items():
            if not name.startswith("_") and name not in ("timestamp", "level", "logger"):
                event[name] = self.clean(name, value)
        return event

    def clean(self, name: str, value: Any) -> Any:
        if _SECRET_NAMES.search(name):
            return MASK if value else value
        if isinstance(value, bool | float) or value is None:
            return value
        if isinstance(value, int):
            return value if abs(value) < 10**8 else masked(str(value))
        if isinstance(value, Mapping):
            return {str(key): self.clean(str(key), inner) for key, inner in value.items()}
        if isinstance(value, list | tuple | set):
            return [self.clean(name, inner) for inner in value]
        return masked(str(value), secrets=self.secrets)


class _Renderer:
    """One line per event; a traceback follows as indented lines in text, as one field in JSON."""

    def __init__(self, role: str, *, as_json: bool) -> None:
        self.role = role
        self.as_json = as_json

    def __call__(self, logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
        at, level = event.pop("timestamp", ""), event.pop("level", "info")
        who, what = event.pop("logger", ""), str(event.pop("event", ""))
        trace = event.pop("exception", None)
        if self.as_json:
            line = {"at": at, "level": level, "role": self.role, "logger": who, "event": what, **event}
            shown = line | ({"exception": trace} if trace else {})
            return escaped(json.dumps(shown, ensure_ascii=False, default=str))  # the escapes are JSON's own
        fields = " ".join(f"{escaped(str(name))}={self._shown(value)}" for name, value in event.items())
        line_text = f"{at[:19]}Z {level:<7} {self.role:<10} {escaped(what)}" + (f"  {fields}" if fields else "")
        if trace:
            line_text += "".join(f"\n    | {escaped(part)}" for part in str(trace).splitlines())
        return line_text

    @staticmethod
    def _shown(value: Any) -> str:
        text = escaped(str(value))
        return f'"{text}"' if " " in text or not text else text


def _exceptions(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """exc_info -> text, without local variables, so that the masker sees it."""
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    if isinstance(info, BaseException):
        info = (type(info), info, info.__traceback__)
    if info and info[0] is not None:
        event["exception"] = "".join(traceback.format_exception(*info)).rstrip()
    return event


def _secret_values(settings: Settings) -> tuple[str, ...]:
    values = [getattr(settings, name) for name in type(settings).model_fields]
    texts = [value.get_secret_value() for value in values if isinstance(value, SecretStr)]
    texts += [part for url in (settings.database_url, settings.redis_url) for part in setting_values.password_of(url)]
    parts = [part for text in texts for part in (text, *text.split(","), *text.split(":"))]
    return tuple(sorted({part for part in parts if len(part) >= 8}, key=len, reverse=True))


class _Seldom(logging.Filter):
    """Drops repetitions."""

    def __init__(self, words: str, every_s: float) -> None:
        super().__init__()
        self.words = words
        self.every_s = every_s
        self.said_at = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        if self.words not in str(record.msg):
            return True
        if time.monotonic() - self.said_at < self.every_s:
            return False
        self.said_at = time.monotonic()
        return True
