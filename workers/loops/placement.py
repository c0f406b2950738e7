"""Whether an operation over all lanes treats them alike, to the bit, on a CPU.

Two things there hang on where a number lies in memory. Elementwise loops take 32 numbers at a time, and some functions
compute the few that are left over otherwise, so the last lane would round otherwise than the others. And matrix
products may round otherwise where operands lie differently against lines of 64 bytes. Both were found by trying; the
tests of lanes try them again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from workers.loops.lane_storage import LINE, VECTOR
from workers.loops.watching import Watching

# Elementwise functions whose last few numbers are computed as all others are.
EXACT = frozenset(
    {
        "abs",
        "add",
        "addcdiv",
        "addcmul",
        "bitwise_and",
        "bitwise_not",
        "bitwise_or",
        "clamp",
        "clamp_max",
        "clamp_min",
        "clone",
        "copy",
        "div",
        "eq",
        "erf",
        "exp",
        "fill",
        "ge",
        "gt",
        "isnan",
        "le",
        "leaky_relu",
        "leaky_relu_backward",
        "lerp",
        "log",
        "log1p",
        "logical_and",
        "logical_not",
        "logical_or",
        "lt",
        "maximum",
        "minimum",
        "mul",
        "ne",
        "neg",
        "relu",
        "rsqrt",
        "rsub",
        "sign",
        "sin",
        "sqrt",
        "sub",
        "tanh",
        "tanh_backward",
        "threshold_backward",
        "where",
    }
)
_UNTAGGED = frozenset({"elu_backward", "mish_backward", "softplus_backward", "hardswish_backward"})
_PRODUCTS = frozenset({"bmm", "baddbmm"})
_FOLDED = frozenset({"mm", "addmm", "mv", "addmv"})  # lanes beside each other in one matrix


class Watch(Watching):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """While it is active, looks at what is computed over all lanes; `alike` says that no lane was treated otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.alike = True

    def look(self, func: Callable[..., Any], name: str, args: tuple[Any, ...], found: Any) -> None:
        """At where its numbers lie."""
        tensors = [t for t in (*args, found) if isinstance(t, Tensor)]
        if name in _FOLDED:
            self.alike = False
        elif name in _PRODUCTS:
            self.alike = self.alike and all(t.numel() // len(t) % LINE == 0 for t in tensors if t.dim() == 3)
        elif name not in EXACT and _elementwise(func, name):
            self.alike = self.alike and all(t.numel() % VECTOR == 0 for t in tensors)


def _elementwise(func: Callable[..., Any], name: str) -> bool:
    if name in _UNTAGGED:
        return True
    packet = getattr(torch.ops.aten, name, None)
    if packet is None:
        return True  # not torch's own: nothing is known of it
    return any(torch.Tag.pointwise in getattr(packet, overload).tags for overload in packet.overloads())
