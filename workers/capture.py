"""What an attempt prints: stdout, stderr and logging, kept per attempt, in batches and up to a limit.

Threads that were running before the attempt (Ray's own) keep writing to the process's real streams. Output of child
processes and of C code goes to the file descriptors, hence to the worker's own log, not here.
One attempt at a time per process: sys.stdout is one for all threads.

An explicit flush sends at once, and a line end sends what has waited long enough, so that little is lost when the
process dies on the spot (`os._exit`, a crash in C code). What was sent but not yet read dies with it still.
"""

from __future__ import annotations

import io
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TextIO

LIMIT_BYTES = 1 << 20
_BATCH_CHARS = 8192
_BATCH_SECONDS = 0.2
_FLUSHES = 8  # explicit flushes that send at once, per _BATCH_SECONDS: `print(..., flush=True)` in a loop stays cheap


class LogBuffer:
    """Collects text and hands it on in pieces; safe to use from several threads."""

    def __init__(self, send: Callable[[str], None], *, limit_bytes: int = LIMIT_BYTES) -> None:
        self._send = send
        self._left = limit_bytes
        self._limit = limit_bytes
        self._pieces: list[str] = []
        self._chars = 0
        self._sent_at = time.monotonic()
        self._flushed_since = self._sent_at
        self._flushed = 0
        self._lock = threading.RLock()
        self._full = False

    def write(self, text: str) -> None:
        """Keep `text`; send when enough has gathered, or at a line end when the last piece is old enough."""
        if not text or self._full:
            return
        with self._lock:
            self._keep(text)
            if self._chars >= _BATCH_CHARS or (text.endswith("\n") and self._waited()):
                self._flush()

    def tick(self) -> None:
        """Send what has gathered if the last piece was sent a while ago; called between other work."""
        if self._pieces and self._waited():
            self.flush()

    def flush_soon(self) -> None:
        """Send what has gathered, as a stream's `flush` asks for: at once, unless it is asked for all the time."""
        with self._lock:
            now = time.monotonic()
            if now - self._flushed_since >= _BATCH_SECONDS:
                self._flushed_since, self._flushed = now, 0
            if self._pieces and self._flushed < _FLUSHES:
                self._flushed += 1
                self._flush()

    def flush(self) -> None:
        """Send what has gathered."""
        with self._lock:
            self._flush()

    def _waited(self) -> bool:
        return time.monotonic() - self._sent_at >= _BATCH_SECONDS

    def _keep(self, text: str) -> None:
        size = len(text.encode("utf-8", "replace"))
        if size > self._left:
            text = text.encode("utf-8", "replace")[: self._left].decode("utf-8", "ignore")
            text += f"\n[log cut: an attempt keeps at most {self._limit} bytes; write less, or to a file of your own]\n"
            self._full = True
            size = self._left
        self._left -= size
        self._pieces.append(text)
        self._chars += len(text)

    def _flush(self) -> None:
        if self._pieces:
            text = "".join(self._pieces)
            self._pieces.clear()
            self._chars = 0
            self._sent_at = time.monotonic()
            self._send(text)


class Sink(Protocol):
    """What an attempt's output is written to."""

    def write(self, text: str) -> None:
        """Keep `text`."""
        ...

    def flush_soon(self) -> None:
        """Send what has gathered, as a stream's `flush` asks for."""
        ...


class _Outsiders:
    """Threads that are not the attempt's: those that ran before it, and those that Python did not start (Ray's)."""

    def __init__(self) -> None:
        self._own = threading.current_thread()
        self._before = frozenset(threading.enumerate()) - {self._own}  # objects: numbers of threads are reused

    def include_this_thread(self) -> bool:
        thread = threading.current_thread()
        if thread is self._own:
            return False
        return thread in self._before or isinstance(thread, threading._DummyThread)


class _Bytes(io.RawIOBase):
    """A router's `buffer`: takes the bytes of those who write past the text layer. Closing it closes nothing."""

    def __init__(self, text: io.TextIOBase) -> None:
        super().__init__()
        self._text = text

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        taken = bytes(data)
        self._text.write(taken.decode("utf-8", "replace"))
        return len(taken)

    def close(self) -> None:
        """A wrapper that goes out of scope closes what it wraps, and the trial prints on."""


class _Router(io.TextIOBase):
    """Stands in for sys.stdout or sys.stderr: the attempt's threads write to the buffer, the others past it."""

    def __init__(self, buffer: Sink, original: TextIO, outsiders: _Outsiders) -> None:
        super().__init__()
        self._buffer = buffer
        self._original = original
        self._outsiders = outsiders
        self.buffer = _Bytes(self)

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a plain attribute in the base class
        return "utf-8"

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._original.fileno()

    def write(self, text: str) -> int:
        if self._outsiders.include_this_thread():
            return self._original.write(text)
        self._buffer.write(text)
        return len(text)

    def flush(self) -> None:
        if self._outsiders.include_this_thread():
            self._original.flush()
        else:
            self._buffer.flush_soon()


class _Handler(logging.Handler):
    def __init__(self, buffer: Sink, outsiders: _Outsiders) -> None:
        super().__init__()
        self._buffer = buffer
        self._outsiders = outsiders
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        if not self._outsiders.include_this_thread():
            self._buffer.write(self.format(record) + "\n")


@contextmanager
def captured(buffer: Sink) -> Iterator[None]:
    """While the block runs, the calling thread and threads it starts print and log into `buffer`."""
    outsiders = _Outsiders()
    stdout, stderr = sys.stdout, sys.stderr
    root = logging.getLogger()
    level, handlers, disabled = root.level, list(root.handlers), root.manager.disable
    handler = _Handler(buffer, outsiders)
    sys.stdout, sys.stderr = _Router(buffer, stdout, outsiders), _Router(buffer, stderr, outsiders)
    root.addHandler(handler)
    if level in (logging.NOTSET, logging.WARNING):
        root.setLevel(logging.INFO)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = stdout, stderr
        root.handlers[:] = handlers
        root.setLevel(level)
        root.manager.disable = disabled
