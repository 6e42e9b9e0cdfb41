"""Every error a person can meet, with what to do about it.

    KaanError
    ├── RetryableError        the same call may work later: the job runner tries again
    ├── PermanentError        this input will never work: the job ends, its row says why
    │   └── InvalidInput      the caller sent something wrong: HTTP 4xx
    └── ConfigurationError    a person must change a setting before this can work

The branch says what to do, the code says what happened. The job runner and the HTTP layer look only at the
branch, never at the message.
"""

from __future__ import annotations


class KaanError(Exception):
    """A failure with a stable code, one plain sentence, and the next step for whoever reads it.

    `code` is kebab-case and never changes once published; `sentence` may name ids and sizes but never a
    secret, a phone number or more than 80 characters of a sender's text.
    """

    def __init__(self, code: str, sentence: str, next_step: str = "", *, status: int = 500) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence
        self.next_step = next_step
        self.status = status
        self.field: str | None = None  # of the request, where one is wrong

    def __str__(self) -> str:
        return f"{self.sentence} {self.next_step}".strip() + f" [{self.code}]"

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.code, self.sentence, self.next_step, self.status)


class RetryableError(KaanError):
    """Busy, unreachable, timed out, out of space: try again later. `after_s` overrides the usual back-off."""

    def __init__(
        self,
        code: str,
        sentence: str,
        next_step: str = "",
        *,
        status: int = 503,
        after_s: float | None = None,
    ) -> None:
        super().__init__(code, sentence, next_step, status=status)
        self.after_s = after_s


class PermanentError(KaanError):
    """Trying again cannot help: the row that caused it keeps this as its reason."""


class InvalidInput(PermanentError):
    """The caller's request is wrong; `status` is the HTTP status it gets."""

    def __init__(self, code: str, sentence: str, next_step: str = "", *, status: int = 400) -> None:
        super().__init__(code, sentence, next_step, status=status)


class ConfigurationError(KaanError):
    """A setting, credential or version is wrong: stop, and name it to the operator."""


def _rebuild(kind: type[KaanError], code: str, sentence: str, next_step: str, status: int) -> KaanError:
    return kind(code, sentence, next_step, status=status)
