"""A program as the engine runs it inside this process, and the clean-up after it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable

Program = Callable[[], None]
LOOP_END_S = 10.0
LOOP_GRACE_S = 1.0
LOOP_REST_S = 0.1
LOOP_LOOK_S = 0.005


class InlineProgram:
    """Runs the program that ``load`` returns; ``end`` ends what the Automation API leaves after a failed run.

    That is an event loop with tasks in it, or worse a thread that waits for a value which never arrives: Python joins such
    threads before it exits, so the process would never end.
    """

    def __init__(self, load: Callable[[], Program]) -> None:
        from runner.stacks.sdk import use_own_connections

        use_own_connections()
        self._load = load
        self._loop: asyncio.AbstractEventLoop | None = None

    def __call__(self) -> None:
        """Declare the resources; the Automation API calls this, in its loop."""
        self._loop = asyncio.get_running_loop()
        self._load()()

    def end(self) -> None:
        """Close the loop after the engine has ended: else Python reports a forgotten coroutine, with a traceback, some time later."""
        if self._loop is not None and not self._loop.is_closed():
            # In a thread of its own: this one may be running a loop.
            thread = threading.Thread(target=_close_loop, args=(self._loop,), daemon=True)
            thread.start()
            thread.join()


def _close_loop(loop: asyncio.AbstractEventLoop) -> None:
    if not _comes_to_rest(loop):
        return
    # The Automation API's own handler stops the loop at every error of an engine that has ended.
    loop.set_exception_handler(lambda stopped, context: None)
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    with contextlib.suppress(RuntimeError):  # stopped by an earlier error
        loop.run_until_complete(asyncio.sleep(0))
    settled = _settle(tasks)
    try:
        loop.run_until_complete(settled)
    except RuntimeError:  # the Automation API runs it again, and will end it
        settled.close()
    else:
        loop.close()


def _comes_to_rest(loop: asyncio.AbstractEventLoop) -> bool:
    """Wait until the Automation API has left the loop, which it runs again for each task; return False if it closes it.

    A task that still waits after a moment waits for the engine, which has ended: it is cancelled, as often as necessary.
    """
    began_at = at_rest_since = time.monotonic()
    while not loop.is_closed() and time.monotonic() < began_at + LOOP_END_S:
        if loop.is_running():
            at_rest_since = time.monotonic()
            if at_rest_since > began_at + LOOP_GRACE_S:
                _cancel_soon(loop)
        elif time.monotonic() - at_rest_since > LOOP_REST_S:
            return True
        time.sleep(LOOP_LOOK_S)
    return False


def _cancel_soon(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel the loop's tasks in the thread that runs it; none if that has just closed it."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(loop)])


async def _settle(tasks: set[asyncio.Task[object]]) -> None:
    """Wait for tasks that were cancelled; ignore their results."""
    if tasks:
        await asyncio.wait(tasks, timeout=LOOP_END_S)
    for task in tasks:
        if task.done() and not task.cancelled():
            task.exception()
