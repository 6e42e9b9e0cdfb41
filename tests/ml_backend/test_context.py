"""What a process keeps is made once, whoever asks first."""

from __future__ import annotations

import threading

from ml_backend.context import Context


def test_threads_that_ask_first_together_get_one_object(context: Context) -> None:
    begun, may_go = threading.Event(), threading.Event()
    made: list[object] = []
    got: list[object] = []

    def make() -> object:
        begun.set()
        assert may_go.wait(60)
        made.append(object())
        return made[-1]

    threads = [threading.Thread(target=lambda: got.append(context.keep("slow", make))) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert begun.wait(60)
    assert context.keep("another", lambda: 1) == 1  # is not held up by the slow one
    may_go.set()
    for thread in threads:
        thread.join(60)
    assert len(made) == 1
    assert got == made * 3
