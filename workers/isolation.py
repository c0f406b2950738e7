"""One attempt must not leak into the next: what user code may change in a process is put back after it.

Covers the working directory, environment variables, sys.argv, the global random states of random, numpy and torch,
torch's default dtype, thread count and gradient mode, warning filters, and figures of matplotlib. What user code keeps
in its own modules is its own.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np


@contextmanager
def isolated() -> Iterator[None]:
    """Put the process's state back when the block ends."""
    undo = [_directory(), _environment(), _arguments(), _random(), _torch()]
    had_figures = _figures()
    with warnings.catch_warnings():
        try:
            yield
        finally:
            for restore in undo:
                restore()
            _close_figures(had_figures)


@contextmanager
def computing(*, cpu: float, deterministic: bool) -> Iterator[None]:
    """As many computing threads as the worker has cores (one for small shares), and deterministic kernels where asked
    for; the threads are put back when the block ends, the other switches by `isolated`."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
    before, wanted = torch.get_num_threads(), max(1, int(cpu))
    if before != wanted:
        torch.set_num_threads(wanted)
    try:
        yield
    finally:
        if before != wanted:
            torch.set_num_threads(before)


def seed_globals(seed: int) -> None:
    """Seed the global generators of random, numpy and torch, for functions that use them."""
    random.seed(seed)
    np.random.seed(seed % (1 << 32))
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.default_generator.manual_seed(seed)  # torch.manual_seed seeds devices that are not there, slowly
        if torch.cuda.is_available():
            torch.cuda.manual_seed_all(seed)


def _directory() -> Callable[[], None]:
    before = os.getcwd()

    def restore() -> None:
        with contextlib.suppress(OSError):
            os.chdir(before)

    return restore


def _environment() -> Callable[[], None]:
    before = dict(os.environ)

    def restore() -> None:
        if before != dict(os.environ):
            os.environ.clear()
            os.environ.update(before)

    return restore


def _arguments() -> Callable[[], None]:
    before = list(sys.argv)

    def restore() -> None:
        sys.argv[:] = before

    return restore


def _random() -> Callable[[], None]:
    python, array = random.getstate(), np.random.get_state()

    def restore() -> None:
        random.setstate(python)
        np.random.set_state(array)

    return restore


def _torch() -> Callable[[], None]:
    torch = sys.modules.get("torch")
    if torch is None:
        return lambda: None
    state = torch.get_rng_state()
    dtype, threads, grad = torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled()
    deterministic = torch.are_deterministic_algorithms_enabled()
    cudnn = (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark)

    def restore() -> None:
        torch.set_rng_state(state)
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(grad)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        if torch.are_deterministic_algorithms_enabled() != deterministic:  # setting it imports half of torch
            torch.use_deterministic_algorithms(deterministic)
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = cudnn
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()

    return restore


def _pyplot() -> Any:
    return sys.modules.get("matplotlib.pyplot")


def _figures() -> set[int]:
    pyplot = _pyplot()
    return set(pyplot.get_fignums()) if pyplot else set()


def _close_figures(kept: set[int]) -> None:
    pyplot = _pyplot()
    if pyplot:
        for number in set(pyplot.get_fignums()) - kept:
            pyplot.close(number)
