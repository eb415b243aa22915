"""Threads that ask ahead, and that nobody waits for at the end: an interrupted run ends at once.

`ThreadPoolExecutor` would not do: its threads are joined when Python exits, whatever its `shutdown` was told, and a
request that gets no answer takes a minute.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import ParamSpec, TypeVar

_Asked = ParamSpec("_Asked")
_Answer = TypeVar("_Answer")


class Fetchers:
    """A number of daemon threads; `close` lets what is not begun go."""

    def __init__(self, threads: int) -> None:
        self._waiting: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._closed = threading.Event()
        for _ in range(threads):
            threading.Thread(target=self._work, daemon=True).start()

    def submit(
        self, ask: Callable[_Asked, _Answer], *arguments: _Asked.args, **named: _Asked.kwargs
    ) -> Future[_Answer]:
        """Have something called by the next thread that is free; what it raises, the future's `result` raises."""
        future: Future[_Answer] = Future()

        def call() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(ask(*arguments, **named))
            except BaseException as error:  # who waits for it hears of it
                future.set_exception(error)

        self._waiting.put(call)
        return future

    def close(self) -> None:
        """Begin nothing more; what is under way is not waited for."""
        self._closed.set()
        self._waiting.put(lambda: None)

    def _work(self) -> None:
        while True:
            call = self._waiting.get()
            if self._closed.is_set():
                break
            call()
        # The next thread wakes too.
        self._waiting.put(lambda: None)
