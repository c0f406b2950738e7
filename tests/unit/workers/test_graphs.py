"""What cannot be recorded is seen beforehand, and CUDA is asked in the right order: by stand-ins for torch.cuda, for
nothing here needs a GPU, and nothing here shows what one does."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.torch_version import TorchVersion

from workers.loops import graphs
from workers.loops.graphs import CudaRecorder, Waits, first_cause, recorder_of

X = torch.arange(6.0)


@pytest.mark.parametrize(
    ("work", "found"),
    [
        (lambda: X.sum().item(), "aten._local_scalar_dense"),
        (lambda: bool(X.any()), "aten._local_scalar_dense"),
        (lambda: X.nonzero(), "aten.nonzero"),
        (lambda: X[X > 2], "aten.index"),
        (lambda: X.clone().index_put_((X > 2,), torch.ones(3)), "aten.index_put_"),
        (lambda: torch.masked_select(X, X > 2), "aten.masked_select"),
        (lambda: torch.equal(X, X), "aten.equal"),
        (lambda: X.to("meta"), "aten._to_copy"),
        (lambda: torch.empty(6, device="meta").copy_(X), "aten.copy_"),
        (lambda: torch.ops.aten.lift_fresh(torch.empty(6, device="meta")), "aten.lift_fresh"),
        (lambda: torch.linalg.cholesky(torch.eye(3)), "aten._linalg_check_errors"),
        (lambda: X.repeat_interleave(torch.arange(6)), "aten.repeat_interleave"),
        (lambda: X * torch.tensor(0.5), ""),
        (lambda: X[torch.tensor([1, 2])] * torch.where(X > 2, X, -X).sum(), ""),
        (lambda: torch.zeros(6).copy_(X).add_(X.double()), ""),
    ],
)
def test_what_waits_for_the_device_is_found(work: Callable[[], object], found: str) -> None:
    with Waits() as waits:
        work()
    assert waits.found == found


def test_what_waits_in_a_backward_pass_is_found() -> None:
    class Asks(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:
            return grad * grad.sum().item()

    leaf = X.clone().requires_grad_()
    with Waits() as waits:
        torch.autograd.grad(Asks.apply(leaf).sum(), leaf)
    assert waits.found == "aten._local_scalar_dense"


@pytest.mark.parametrize(("device", "switch"), [("cpu", ""), ("cuda", "off"), ("cuda:0", "OFF"), ("cuda", "0")])
def test_where_nothing_is_recorded(device: str, switch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(graphs.SWITCH, switch)
    assert recorder_of(device) is None


class Stream:
    """In place of torch.cuda.Stream."""

    def __init__(self, number: int) -> None:
        self.cuda_stream = number


class Cuda:
    """In place of torch.cuda, as far as a recorder asks for it: says in `log` what was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log: list[str] = []
        self.current = Stream(0)
        self.numbers = iter([1, 1, 2, 2, *[3] * 99])
        self.end_fails: Exception | None = None
        self.free, self.reserved, self.allocated, self.peak = 1000, 500, 400, 600
        cuda = self

        class Ordered(Stream):
            def wait_stream(self, other: Stream) -> None:
                cuda.log.append(f"{self.cuda_stream} waits for {other.cuda_stream}")

        self.current = Ordered(0)
        self.ordered = Ordered

        class Graph:
            def replay(self) -> None:
                cuda.log.append(f"replay on {cuda.current.cuda_stream}")

        for name, value in {
            "Stream": lambda: Ordered(next(cuda.numbers)),
            "CUDAGraph": Graph,
            "current_stream": lambda: cuda.current,
            "stream": self.stream,
            "graph": self.graph,
            "mem_get_info": lambda: (cuda.free, 9999),
            "memory_reserved": lambda: cuda.reserved,
            "memory_allocated": lambda: cuda.allocated,
            "max_memory_allocated": lambda: cuda.peak,
        }.items():
            monkeypatch.setattr(torch.cuda, name, value)
        monkeypatch.setattr(graphs, "_failed", [])
        monkeypatch.setattr(graphs, "_living", weakref.WeakSet())  # what other tests raised may hold on to theirs
        monkeypatch.delenv(graphs.SWITCH, raising=False)

    @contextmanager
    def stream(self, stream: Any) -> Iterator[None]:
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before

    def graph(self, graph: object, *, stream: Any, capture_error_mode: str) -> Any:
        """As torch's: where the capture cannot be ended, its stream stays the current one."""
        cuda = self

        class Capture:
            def __enter__(self) -> None:
                assert not torch.is_inference_mode_enabled()
                assert not gc.isenabled()
                self.before, cuda.current = cuda.current, stream
                cuda.log.append(f"capture on {stream.cuda_stream}, {capture_error_mode}")

            def __exit__(self, *_: object) -> None:
                if cuda.end_fails is not None:
                    raise cuda.end_fails
                cuda.current = self.before

        return Capture()


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Cuda:
    return Cuda(monkeypatch)


def recorder(cuda: Cuda) -> CudaRecorder:
    found = recorder_of("cuda")
    assert isinstance(found, CudaRecorder)
    return found


def test_work_is_captured_on_the_stream_that_it_was_warmed_on(cuda: Cuda) -> None:
    one = recorder(cuda)
    with one.aside():
        cuda.log.append(f"warm on {cuda.current.cuda_stream}")
    recording = one.record(lambda: X)
    recording.replay()
    assert recording.out is X
    assert cuda.log == [
        "1 waits for 0",
        "warm on 1",
        "0 waits for 1",
        "capture on 1, thread_local",
        "replay on 0",
    ]


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_work_is_recorded_in_the_mode_that_it_is_called_in(cuda: Cuda, mode: Callable[[], Any]) -> None:
    def modes() -> tuple[bool, bool]:
        return torch.is_inference_mode_enabled(), torch.is_grad_enabled()

    def work() -> Tensor:
        found.append(modes())
        return X

    found: list[tuple[bool, bool]] = []
    with mode():
        expected = modes()
        recorder(cuda).record(work)
        assert modes() == expected
    assert found == [expected]
    assert gc.isenabled()


def test_the_streams_are_joined_where_warming_fails(cuda: Cuda) -> None:
    one = recorder(cuda)
    with pytest.raises(ValueError, match="no"), one.aside():
        raise ValueError("no")
    assert cuda.log == ["1 waits for 0", "0 waits for 1"]
    assert cuda.current.cuda_stream == 0


def test_no_two_living_recorders_share_a_stream(cuda: Cuda) -> None:
    first, second = recorder(cuda), recorder(cuda)
    assert (first.stream.cuda_stream, second.stream.cuda_stream) == (1, 2)
    third = recorder(cuda)
    assert third.stream.cuda_stream == 3
    assert recorder_of("cuda") is None  # torch has no other
    del third
    assert recorder(cuda).stream.cuda_stream == 3


def fails() -> Tensor:
    raise RuntimeError("operation not permitted when stream is capturing")


def test_after_a_capture_that_broke_nothing_more_is_recorded(cuda: Cuda) -> None:
    one = recorder(cuda)
    assert one.hindrance(0) == ""
    cuda.end_fails = RuntimeError("operation failed due to a previous error during capture")
    with pytest.raises(RuntimeError) as caught:
        one.record(fails)
    assert str(first_cause(caught.value)) == "operation not permitted when stream is capturing"
    assert cuda.current.cuda_stream == 0
    assert one.hindrance(0) == recorder(cuda).hindrance(0) == "a recording failed in this process before"


def test_memory_that_runs_out_while_capturing_does_not_forbid_the_next_one(cuda: Cuda) -> None:
    def too_much() -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    one = recorder(cuda)
    with pytest.raises(torch.OutOfMemoryError):
        one.record(too_much)
    assert one.hindrance(0) == ""


def test_memory_that_runs_out_and_breaks_the_capture_forbids_the_next_one(cuda: Cuda) -> None:
    """As where cuBLAS finds none: the capture cannot be ended, and leaves its traces."""

    def too_much() -> Tensor:
        raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")

    one = recorder(cuda)
    cuda.end_fails = RuntimeError("operation failed due to a previous error during capture")
    with pytest.raises(RuntimeError, match="previous error"):
        one.record(too_much)
    assert one.hindrance(0) == "a recording failed in this process before"


@pytest.mark.parametrize(
    ("version", "why"),
    [
        ("2.9.1+cu128", "torch 2.9.1+cu128 does not survive a recording that fails; 2.13 does"),
        ("2.13.0+cu130", ""),
    ],
)
def test_a_torch_that_survives_what_breaks(cuda: Cuda, monkeypatch: pytest.MonkeyPatch, version: str, why: str) -> None:
    monkeypatch.setattr(torch, "__version__", TorchVersion(version))
    assert recorder(cuda).hindrance(0) == why


def test_memory_for_a_step_twice_over_must_be_left(cuda: Cuda) -> None:
    one = recorder(cuda)
    cuda.free, cuda.reserved, cuda.allocated, cuda.peak = 300, 500, 400, 600  # 400 unused, a step takes 200
    assert one.hindrance(0) == ""
    assert one.hindrance(1) == "there is too little memory left for it"


def test_what_other_recordings_keep_is_not_left(cuda: Cuda) -> None:
    one, other = recorder(cuda), recorder(cuda)
    assert other.hindrance(600) == ""  # 1100 unused, a step takes 200
    assert one.hindrance(0) == ""
    one.record(lambda: X)
    assert other.hindrance(500) == ""
    assert other.hindrance(501) == "there is too little memory left for it"
