"""Named places where a test may make this process die, fail or wait; in production every one of them is nothing.

`hit("web.after-commit")` stands where the fault tests (tests/faults) need a process to end between two lines. Nothing
in the product arms it: no setting, no environment variable, no request. Only code that already runs in this process
can, and only the launcher of the fault tests does.
"""

from __future__ import annotations

from collections.abc import Callable

_action: Callable[[str], None] | None = None


def hit(name: str) -> None:
    """This place was reached."""
    if _action is not None:
        _action(name)


def arm(action: Callable[[str], None] | None) -> None:
    """For the launcher of the fault tests: what to do at every place, or None for nothing."""
    global _action
    _action = action
