"""Recording device work once and replaying it: CUDA graphs.

A small network's step on a GPU is dozens of kernels of a few microseconds each, and starting one from Python takes
longer than running it. A graph starts them all with one call. **No line of `CudaRecorder` has ever run on a GPU**: it
was written from torch's documentation, sources and reported faults. What surrounds it (`recorded_steps`) is tested
with a recorder for the CPU, and checks the first replay of every recording, to the bit, against the step itself.

What is recorded must read and write memory that stays where it is, wait for nothing, and hang on nothing of the host's.
"""

from __future__ import annotations

import gc
import os
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor

from workers import memory
from workers.loops.watching import Watching

SWITCH = "HPO_CUDA_GRAPHS"
"""The environment variable that turns graphs off: `off`, `no`, `false` or `0`."""
_OFF = ("off", "no", "false", "0")
_STREAMS = 32  # torch hands out so many in turn
_SURVIVES = "2.13"  # the version of torch from which on its allocator can be used after a capture that broke


class Recording(Protocol):
    """Device work that can be done again."""

    @property
    def out(self) -> Tensor:
        """Where a replay leaves what the recorded work returned."""
        ...

    def replay(self) -> None:
        """Do it again, in order with what else is given to the device."""
        ...


class Recorder(Protocol):
    """Makes recordings; one for everything that shares memory."""

    def hindrance(self, needed: int) -> str:
        """Why nothing should be recorded now that takes `needed` bytes beside what the work itself takes; else ""."""
        ...

    def aside(self) -> AbstractContextManager[None]:
        """In this block work goes where recordings are made: what it loads and allocates at first is there then."""
        ...

    def record(self, work: Callable[[], Tensor]) -> Recording:
        """Call `work`, of which the device does nothing yet. What it raises is raised, and nothing was recorded."""
        ...

    def now(self) -> float:
        """Seconds, when the device has done all that it was given."""
        ...


def recorder_of(device: str) -> Recorder | None:
    """For lanes on this device; None where nothing is recorded."""
    if not device.startswith("cuda") or os.environ.get(SWITCH, "").lower() in _OFF:
        return None
    stream = _stream_of_its_own()
    return None if stream is None else CudaRecorder(stream)


class CudaRecorder:
    """CUDA graphs by torch, from a stream that no other living recorder uses: graphs recorded from one stream share the
    work space of cuBLAS, and in some versions of torch the end of one takes it from the others
    (github.com/pytorch/pytorch/issues/193402)."""

    def __init__(self, stream: torch.cuda.Stream) -> None:
        self.stream = stream
        self.kept = self._step = 0  # bytes, about: of its recording, and of what a step takes
        _living.add(self)

    def hindrance(self, needed: int) -> str:
        """A recording keeps memory of its own, about what a step takes at most beside what it finds; torch counts it
        among what is reserved and not allocated, but nothing else may use it.

        In versions of torch before 2.13 a capture that breaks stays open in the allocator, and the next `empty_cache`
        fails, and every one after it (github.com/pytorch/pytorch/pull/180395)."""
        if torch.__version__ < _SURVIVES:
            return f"torch {torch.__version__} does not survive a recording that fails; {_SURVIVES} does"
        if _failed:
            return "a recording failed in this process before"
        free, _ = torch.cuda.mem_get_info()
        allocated = torch.cuda.memory_allocated()
        unused = free + torch.cuda.memory_reserved() - allocated - sum(one.kept for one in _living)
        self._step = torch.cuda.max_memory_allocated() - allocated
        return "there is too little memory left for it" if unused < 2 * self._step + needed else ""

    @contextmanager
    def aside(self) -> Iterator[None]:
        """On the recorder's stream, behind what was given to the current one, which goes on behind it."""
        current = torch.cuda.current_stream()
        self.stream.wait_stream(current)
        try:
            with torch.cuda.stream(self.stream):
                yield
        finally:
            current.wait_stream(self.stream)

    def record(self, work: Callable[[], Tensor]) -> Recording:
        """Other threads may use the GPU meanwhile ("thread_local"); autograd's thread is recorded as well, for it works
        on the stream of the forward pass."""
        graph = torch.cuda.CUDAGraph()
        inferring, differentiating = torch.is_inference_mode_enabled(), torch.is_grad_enabled()
        try:
            # A capture that begins in inference mode leaves the process's generator tensors of that mode, at which the
            # next one that does not would fail (github.com/pytorch/pytorch/issues/166792). And where a capture cannot
            # be ended, torch leaves its stream the current one.
            with (
                _uncollected(),
                torch.inference_mode(False),
                torch.cuda.stream(torch.cuda.current_stream()),
                torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"),
                torch.inference_mode(inferring),
                torch.set_grad_enabled(differentiating),
            ):
                out = work()
        except BaseException as error:
            # A capture that broke off leaves traces in torch's allocator (up to version 2.13 at least), which hold on
            # to the graph. One is bearable: there is no second in this process. Where memory ran out and the capture
            # could be ended nevertheless, that is what was raised, and nothing is left.
            if not memory.is_out_of_memory(error):
                _failed.append(graph)
            raise
        self.kept = self._step
        return _CudaRecording(graph, out)

    def now(self) -> float:
        """Wall time."""
        torch.cuda.synchronize()
        return time.perf_counter()


@contextmanager
def _uncollected() -> Iterator[None]:
    """Python looks for no cycles in this block: among them might be another graph, whose end would break a capture."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _CudaRecording:
    def __init__(self, graph: torch.cuda.CUDAGraph, out: Tensor) -> None:
        self._graph = graph
        self.out = out

    def replay(self) -> None:
        self._graph.replay()


_living: weakref.WeakSet[CudaRecorder] = weakref.WeakSet()
_failed: list[torch.cuda.CUDAGraph] = []


def _stream_of_its_own() -> torch.cuda.Stream | None:
    taken = {one.stream.cuda_stream for one in _living}
    for _ in range(_STREAMS):
        stream: torch.cuda.Stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        if stream.cuda_stream not in taken:
            return stream
    return None


def first_cause(error: BaseException) -> BaseException:
    """What went wrong first: ending a capture that was broken raises once more."""
    while error.__context__ is not None:
        error = error.__context__
    return error


# Operations that end on the host or whose result's shape hangs on values: they wait for the device.
_WAITING = frozenset(
    {
        "_linalg_check_errors",
        "_local_scalar_dense",
        "_unique2",
        "bincount",
        "equal",
        "is_nonzero",
        "item",
        "masked_select",
        "nonzero",
        "repeat_interleave",
        "unique_consecutive",
        "unique_dim",
    }
)
_COPIES = frozenset({"_to_copy", "copy"})
_INDEXING = frozenset({"index", "index_put"})
_MADE = "lift_fresh"  # all that is seen of torch.tensor(…, device=…), which copies from the host and waits


class Waits(Watching):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """While it is active, looks for what cannot be recorded; `found` names the first such operation, or is ""."""

    def __init__(self) -> None:
        super().__init__()
        self.found = ""

    def look(self, func: Any, name: str, args: tuple[Any, ...], found: Any) -> None:
        """At whether it waits for the device."""
        waits = name in _WAITING
        if name in _COPIES:
            waits = len({t.device.type for t in (*args, found) if isinstance(t, Tensor)}) > 1
        elif name in _INDEXING:
            waits = any(t is not None and t.dtype in (torch.bool, torch.uint8) for t in args[1])
        elif name == _MADE:
            waits = found.device.type != "cpu"
        if waits and not self.found:
            self.found = str(func.overloadpacket)
