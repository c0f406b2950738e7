"""Memory and accelerator use of one attempt, and what running out of memory looks like."""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_SAMPLE_S = 1.0
_PEAK_S = 0.02  # what was read holds for so long: all lanes of a launch may ask at once
_CONTAINER_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
MOST_OF_NODE = 0.9
"""The share of its node's memory that one trial on a CPU may hold: less than what Ray ends workers at, 0.95 in use."""
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "status_alloc_failed")
"""The last one is how cuBLAS and cuDNN say it."""


def loaded_torch() -> Any:
    """The torch module if it is loaded, else None; never loads it."""
    return sys.modules.get("torch")


def is_out_of_memory(error: BaseException) -> bool:
    """True for MemoryError and for what torch raises on the CPU and on a GPU."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in _OUT_OF_MEMORY)


def node_bytes() -> int | None:
    """The memory that this process may use at most: the machine's, or its container's where that is less."""
    found = []
    with contextlib.suppress(OSError, ValueError):
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for path in _CONTAINER_LIMITS:
        with contextlib.suppress(OSError, ValueError):  # "max": no limit
            found.append(int(path.read_text()))
    return min(found, default=None)


@contextmanager
def bounded(most: int | None) -> Iterator[None]:
    """While the block runs, the process may hold `most` bytes of its own data (Linux): whoever asks for more gets a
    MemoryError, and not everything on the machine its end. None, or a limit below what it holds: no bound."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if most is None or not sys.platform.startswith("linux") or 0 <= soft <= most or most <= _held_bytes():
        yield
        return
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _held_bytes() -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0


def release() -> None:
    """Give back what nothing refers to any more, on the GPU too: others may share it."""
    gc.collect()
    torch = loaded_torch()
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


class Usage:
    """Peak memory from creation on, and mean utilisation over the samples taken."""

    def __init__(self, device: str) -> None:
        self._cuda = device.startswith("cuda")
        self._sampled_at = time.monotonic()
        self._samples: list[float] = []
        self._asked = False
        self._peak: tuple[float, int] | None = None  # when it was read
        with contextlib.suppress(OSError):
            _CLEAR.write_text("5")  # Linux: resets this process's own high-water mark
        torch = loaded_torch()
        if self._cuda and torch is not None:
            torch.cuda.reset_peak_memory_stats()

    def sample(self) -> None:
        """Note the GPU's utilisation, at most once a second."""
        now = time.monotonic()
        if not self._cuda or now - self._sampled_at < _SAMPLE_S:
            return
        self._sampled_at = now
        utilisation = _utilisation()
        if utilisation is not None:
            self._samples.append(utilisation)

    def peak_bytes(self) -> int | None:
        """Peak resident memory of the process in bytes."""
        now = time.monotonic()
        if self._peak is None or now - self._peak[0] > _PEAK_S:
            self._peak = now, _peak_bytes()
        return self._peak[1]

    def gpu_peak_bytes(self) -> int | None:
        """Peak memory of torch's allocator on the GPU in bytes; None without a GPU."""
        torch = loaded_torch()
        if not self._cuda or torch is None:
            return None
        return int(torch.cuda.max_memory_allocated())

    def gpu_mean_utilisation(self) -> float | None:
        """0 … 1; None without a GPU, without NVML, or for an attempt too short to sample."""
        if self._cuda and not self._asked and not self._samples:
            self._asked = True  # once: every lane of a launch asks, and an answer takes milliseconds
            utilisation = _utilisation()
            self._samples += [] if utilisation is None else [utilisation]
        return sum(self._samples) / len(self._samples) if self._samples else None


def _peak_bytes() -> int:
    try:
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _utilisation() -> float | None:
    torch = loaded_torch()
    if torch is None:
        return None
    try:
        return float(torch.cuda.utilization()) / 100.0
    except Exception:  # no NVML bindings, or no right to ask: their errors share no base class
        return None
