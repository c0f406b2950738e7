"""Batched products of small matrices, [lanes, rows, inner] by [lanes, inner, columns], into memory that is there.

They are torch's, but on a CPU whose vectors numpy's library uses better: torch's own (MKL) leaves half of AVX-512
unused on processors that are not Intel's, where OpenBLAS has kernels for it, and for small matrices such as need no
packing. Either way what a lane comes to hangs on its own numbers alone, and which it is on the machine, the packages
and OPENBLAS_CORETYPE, all of which stand in a trial's record.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

_CPU = Path("/proc/cpuinfo")
_WIDE = frozenset({"SkylakeX", "Cooperlake", "SapphireRapids"})
"""OpenBLAS's names of its kernels for AVX-512."""
_SMALL = 10**6  # multiplications of a product that it has kernels without packing for, at most
_ROWS = 64  # rows for which it has them in every layout
_MOST_PIECES = 8  # with more of them packing is cheaper


def multiply(a: Tensor, b: Tensor, *, out: Tensor) -> None:
    """out = a · b, lane by lane."""
    if out.device.type != "cpu" or not by_numpy():
        torch.bmm(a, b, out=out)
        return
    left, right, into = a.numpy(), b.numpy(), out.numpy()
    _, rows, columns = into.shape
    if rows < columns:  # the longer side is cut
        left, right, into = right.swapaxes(1, 2), left.swapaxes(1, 2), into.swapaxes(1, 2)
    for start, stop in pieces(max(rows, columns), left.shape[2], min(rows, columns)):
        np.matmul(left[:, start:stop], right, out=into[:, start:stop])


def multiply_add(added: Tensor, a: Tensor, b: Tensor, *, out: Tensor) -> None:
    """out = added + a · b, lane by lane; `added` is broadcast."""
    if out.device.type != "cpu" or not by_numpy():
        torch.baddbmm(added, a, b, out=out)
        return
    multiply(a, b, out=out)
    out.add_(added)


@functools.lru_cache(1024)
def pieces(rows: int, inner: int, columns: int) -> tuple[tuple[int, int], ...]:
    """How the rows of a product are cut for kernels that need no packing: (start, stop) each; uncut where it is too
    large for them."""
    most = min(_ROWS, _SMALL // max(1, inner * columns))
    count = -(-rows // most) if most else _MOST_PIECES + 1
    if count > _MOST_PIECES:
        return ((0, rows),)
    return tuple((rows * i // count, rows * (i + 1) // count) for i in range(count))


@functools.cache
def by_numpy() -> bool:
    """Whether products on this CPU are numpy's."""
    return _amd() and any(one.get("architecture") in _WIDE for one in _libraries().info())


def said(device: str) -> str:
    """Whose products lanes on this device are, for their records."""
    return "numpy" if device == "cpu" and by_numpy() else "torch"


def _amd() -> bool:
    try:
        return "AuthenticAMD" in _CPU.read_text()
    except OSError:  # no Linux
        return False


@functools.cache
def _libraries() -> Any:
    """numpy's own, which counts its threads by itself."""
    from threadpoolctl import ThreadpoolController  # lazy: few machines need it; it comes with scikit-learn

    return ThreadpoolController().select(user_api="blas")


@contextmanager
def one_thread(device: str) -> Iterator[None]:
    """On a CPU, one computing thread: several share out sums and products by place, so that a lane's would matter.
    What overflows is no warning: a lane may diverge."""
    if device != "cpu":
        yield
        return
    before = torch.get_num_threads()
    if before != 1:
        torch.set_num_threads(1)
    try:
        if by_numpy():
            with np.errstate(all="ignore"), _libraries().limit(limits=1):
                yield
        else:
            yield
    finally:
        if before != 1:
            torch.set_num_threads(before)
