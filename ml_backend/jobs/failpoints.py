"""Named points at which a test can make this process die, fail or wait; they do nothing in production.

`hit("web.after-commit")` marks a point where the fault tests (tests/faults) end a process between two lines. No
setting, environment variable or request arms it: only the launcher of the fault tests does, from inside the process.
"""

from __future__ import annotations

from collections.abc import Callable

_action: Callable[[str], None] | None = None


def hit(name: str) -> None:
    """Run the test's action for this point, if any."""
    if _action is not None:
        _action(name)


def arm(action: Callable[[str], None] | None) -> None:
    """For the launcher of the fault tests: set the action for every point, or None for no action."""
    global _action
    _action = action
