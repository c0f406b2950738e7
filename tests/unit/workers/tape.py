"""A recorder for the CPU that takes the place of CUDA graphs in tests: it is as strict as they are, and as forgetful.

Recorded work leaves nothing done: what it wrote is put back, and what it allocated holds no number until a replay puts
one there. A replay calls the recorded operations on the recorded tensors, and no Python beside: what hung on the host's
state hangs on it no more. Operations that wait for the device raise while they are recorded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from workers.loops.graphs import Recording

_FORBIDDEN = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2", "is_nonzero")
_UNDECLARED = {"native_batch_norm": ("running_mean", "running_var")}  # written, though the schema does not say so


class Tape(TorchDispatchMode):
    """Records the operations that are called while it is active."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], list[Tensor]]] = []
        self._fresh: dict[int, Tensor] = {}
        self._written: dict[int, tuple[Any, Any]] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func.overloadpacket.__name__ in _FORBIDDEN:
            raise RuntimeError(f"operation not permitted when stream is capturing: {func}")
        self._keep_what_is_written(func, args, kwargs)
        given = {_place(t) for t in _tensors((args, kwargs))}
        result = func(*args, **kwargs)
        results = _tensors(result)
        self._fresh |= {_place(t): t for t in results if _place(t) not in given}
        self.calls.append((func, args, kwargs, results))
        return result

    def _keep_what_is_written(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        named = dict(zip((a.name for a in func._schema.arguments), args, strict=False)) | kwargs
        undeclared = _UNDECLARED.get(func.overloadpacket.__name__, ())
        for argument in func._schema.arguments:
            declared = argument.alias_info is not None and argument.alias_info.is_write
            if declared or argument.name in undeclared:
                for tensor in _tensors(named.get(argument.name)):
                    if _place(tensor) not in self._fresh and _place(tensor) not in self._written:
                        storage = tensor.untyped_storage()
                        self._written[_place(tensor)] = (storage, storage.clone())

    def undo(self) -> None:
        """As a capture does: nothing of it has happened, and new memory holds anything."""
        for storage, before in self._written.values():
            storage.copy_(before)
        with torch.no_grad():
            for tensor in self._fresh.values():
                tensor.fill_(math.nan if tensor.is_floating_point() else 1)

    def replay(self) -> None:
        """Do it again, on the tensors that were recorded."""
        with torch.no_grad():
            for func, args, kwargs, results in self.calls:
                for kept, found in zip(results, _tensors(func(*args, **kwargs)), strict=True):
                    if _place(kept) != _place(found):
                        kept.copy_(found)


class TapeRecording:
    """A tape, and where it leaves what the work returned."""

    def __init__(self, tape: Tape, out: Tensor, recorder: TapeRecorder) -> None:
        self._tape, self._recorder = tape, recorder
        self.out = out

    def replay(self) -> None:
        self._recorder.replays += 1
        self._tape.replay()


class TapeRecorder:
    """Its clock moves by `call_s` from one reading to the next, or by `replay_s` if there was a replay in between."""

    def __init__(self, *, call_s: float = 1.0, replay_s: float = 0.1) -> None:
        self.call_s, self.replay_s = call_s, replay_s
        self.why = ""  # its hindrance
        self.replays = self.recordings = self.steps_aside = 0
        self._now, self._seen = 0.0, 0

    def hindrance(self, needed: int) -> str:
        assert needed > 0
        return self.why

    @contextmanager
    def aside(self) -> Iterator[None]:
        self.steps_aside += 1
        yield

    def record(self, work: Callable[[], Tensor]) -> Recording:
        tape = Tape()
        try:
            with tape:
                out = work()
        finally:
            tape.undo()
        self.recordings += 1
        return TapeRecording(tape, out, self)

    def now(self) -> float:
        self._now += self.call_s if self.replays == self._seen else self.replay_s
        self._seen = self.replays
        return self._now


def _tensors(values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
