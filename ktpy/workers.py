"""Threads that belong to a block: a failing one asks for the end, and leaving the block waits for them all."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

from ktpy.stop import Stop

log = logging.getLogger(__name__)
T = TypeVar("T")
S = TypeVar("S")


class Workers:
    """Resources: owned by the `with` that opens it; leaving asks `done` and joins every thread."""

    def __init__(self, stop: Stop) -> None:
        self.stop = stop
        self.done = Stop()
        self._threads: list[threading.Thread] = []
        self._cancels: list[Callable[[], None]] = []

    def start(self, name: str, work: Callable[[], None], *, cancel: Callable[[], None] = lambda: None) -> None:
        """Run WORK in a thread of its own; it ends when `done` is asked. CANCEL frees it from what it blocks in."""
        self._cancels.append(cancel)
        thread = threading.Thread(target=self._run, args=(name, work), name=f"ktpy-{name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self, name: str, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # the one place that may: a thread has nobody else to tell
            log.debug("worker %s failed", name, exc_info=True)
            self.stop.ask(f"{name} failed", error=error)

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.done.ask("block left")
        self.stop.poke()  # for workers that wait for a fact of the run
        for cancel in self._cancels:
            cancel()
        for thread in self._threads:
            thread.join()


def together(*calls: Callable[[], T]) -> list[T]:
    """The answers of all CALLS, made at the same time, in their order; the first failure is raised after all ended."""
    return each(lambda call: call(), calls)


def each(work: Callable[[S], T], items: Sequence[S], *, at_once: int = 12) -> list[T]:
    """WORK done on every item at the same time; answers in the items' order."""
    if not items:
        return []
    with ThreadPoolExecutor(min(at_once, len(items)), thread_name_prefix="ktpy-call") as pool:
        futures = [pool.submit(work, item) for item in items]
    return [future.result() for future in futures]


def within(seconds: float, work: Callable[[S], T], items: Sequence[S]) -> list[T | None]:
    """WORK done on every item at the same time; None for each that took longer than SECONDS, and is not waited for.

    A call that cannot be cut short goes on in its daemon thread, which dies with the process.
    """
    answers: list[T | None] = [None] * len(items)
    failures: list[BaseException] = []
    left = threading.Semaphore(0)

    def run(number: int) -> None:
        try:
            answers[number] = work(items[number])
        except Exception as error:  # raised below, in the thread that asked
            failures.append(error)
        finally:
            left.release()

    for number in range(len(items)):
        threading.Thread(target=run, args=(number,), name=f"ktpy-within-{number}", daemon=True).start()
    until = time.monotonic() + seconds
    for _ in items:
        if not left.acquire(timeout=max(0.0, until - time.monotonic())):
            break
    if failures:
        raise failures[0]
    return list(answers)
