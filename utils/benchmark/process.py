"""Measurements in processes of their own, so that none is warmed up, or cluttered, by those before it."""

import multiprocessing
import signal
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.pool import ExceptionWithTraceback  # type: ignore[attr-defined]  # as its pools send one
from typing import Any

from utils.errors import RunError


def answer(writer: Connection, measure: Callable[..., Any], arguments: Sequence[Any]) -> None:
    """Send what a function returns, or the exception that it raises."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal reaches this process too: the one that asks ends it
    try:
        writer.send(measure(*arguments))
    except Exception as error:
        writer.send(ExceptionWithTraceback(error, error.__traceback__))


def in_a_fresh_process(measure: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns there, whatever this process has loaded. Raises what it raises; RunError where that process was ended."""
    fresh = multiprocessing.get_context("spawn")
    reader, writer = fresh.Pipe(duplex=False)
    process = fresh.Process(target=answer, args=(writer, measure, arguments), daemon=True)
    process.start()
    writer.close()
    try:
        found = reader.recv()
    except (EOFError, OSError):
        process.join()
        status = process.exitcode or 0
        how = f"by the signal {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
        raise RunError(f"the process that measured has ended {how}; where memory was short, choose a smaller --batch_size") from None
    finally:
        process.kill()
        process.join()
    if isinstance(found, Exception):
        raise found
    return found
