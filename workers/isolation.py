"""One attempt must not leak into the next: what user code may change in a process is put back after it.

Covers the working directory, environment variables, sys.argv, limits of resources, the global random states of random,
numpy and torch, how both compute (default dtype and device, precision, thread count, gradient mode, deterministic
kernels, floating-point errors), warning filters, and figures of matplotlib. What user code keeps in its own modules is
its own: that includes what importing them changed, which is done once more for each attempt (`Effects`).
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_Setting = tuple[Callable[[], Any], Callable[[Any], Any]]
"""How it is read, and how it is set."""
_LIMITS = (resource.RLIMIT_DATA, resource.RLIMIT_AS, resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE)
_UNKNOWN = "unknown"


@contextmanager
def isolated() -> Iterator[None]:
    """Put the process's state back when the block ends."""
    settings, environment, restore_random, had_figures = _settings(), dict(os.environ), _random(), _figures()
    with warnings.catch_warnings():
        try:
            yield
        finally:
            _set(settings)
            _set_environment(environment)
            restore_random()
            _close_figures(had_figures)
            _release()


@dataclass
class Effects:
    """What importing a user's module changed in this process: the next attempt must find the same, though the module
    is imported by then."""

    _settings: dict[str, Any] = field(default_factory=dict)
    _variables: dict[str, str | None] = field(default_factory=dict)

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note what the block changes."""
        settings, variables = _settings(), dict(os.environ)
        yield
        now = dict(os.environ)
        self._variables = {n: now.get(n) for n in {*variables, *now} if variables.get(n) != now.get(n)}
        self._settings = {name: value for name, value in _settings().items() if settings.get(name, value) != value}

    def again(self) -> None:
        """Do it once more."""
        _set(self._settings)
        for name, value in self._variables.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


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


def _settings() -> dict[str, Any]:
    return {name: read() for name, (read, _) in _known().items()}


def _set(wanted: Mapping[str, Any]) -> None:
    """Set what is not as it should be: some of it is slow to set."""
    known = _known()
    for name, value in wanted.items():
        read, put = known[name]
        if value != _UNKNOWN and read() != value:
            with contextlib.suppress(OSError, ValueError):  # a folder that is gone, a limit that may not rise
                put(value)


def _known() -> Mapping[str, _Setting]:
    return _PROCESS if "torch" not in sys.modules else {**_PROCESS, **_TORCH}


def _limit(which: int) -> _Setting:
    def put(soft: int) -> None:
        resource.setrlimit(which, (soft, resource.getrlimit(which)[1]))

    return lambda: resource.getrlimit(which)[0], put


def _directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:  # it was removed
        return _UNKNOWN


def _arguments(value: list[str]) -> None:
    sys.argv[:] = value


_PROCESS: dict[str, _Setting] = {
    "directory": (_directory, os.chdir),
    "arguments": (lambda: list(sys.argv), _arguments),
    "numpy errors": (np.geterr, lambda value: np.seterr(**value)),
    **{f"limit {which}": _limit(which) for which in _LIMITS},
}


def _torch() -> Any:
    return sys.modules["torch"]


def _flag(*path: str) -> _Setting:
    """An attribute somewhere below torch."""

    def holder() -> Any:
        found = _torch()
        for name in path[:-1]:
            found = getattr(found, name)
        return found

    def read() -> Any:
        try:
            return getattr(holder(), path[-1])
        except RuntimeError:  # set by two interfaces of torch that exclude each other
            return _UNKNOWN

    return read, lambda value: setattr(holder(), path[-1], value)


def _precision() -> str:
    try:
        return str(_torch().get_float32_matmul_precision())
    except RuntimeError:  # as above
        return _UNKNOWN


def _deterministic() -> tuple[bool, bool]:
    torch = _torch()
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


_TORCH: dict[str, _Setting] = {
    "dtype": (lambda: _torch().get_default_dtype(), lambda value: _torch().set_default_dtype(value)),
    "device": (
        lambda: str(_torch().get_default_device()),
        lambda value: _torch().set_default_device(None if value == "cpu" else value),
    ),
    "precision": (_precision, lambda value: _torch().set_float32_matmul_precision(value)),
    "threads": (lambda: _torch().get_num_threads(), lambda value: _torch().set_num_threads(value)),
    "gradients": (lambda: _torch().is_grad_enabled(), lambda value: _torch().set_grad_enabled(value)),
    "deterministic": (
        _deterministic,
        lambda value: _torch().use_deterministic_algorithms(value[0], warn_only=value[1]),
    ),
    **{f"cudnn {n}": _flag("backends", "cudnn", n) for n in ("enabled", "deterministic", "benchmark", "allow_tf32")},
}


def _set_environment(before: Mapping[str, str]) -> None:
    if before != dict(os.environ):
        os.environ.clear()
        os.environ.update(before)


def _random() -> Callable[[], None]:
    python, array = random.getstate(), np.random.get_state()
    torch = sys.modules.get("torch")
    state = None if torch is None else torch.get_rng_state()

    def restore() -> None:
        random.setstate(python)
        np.random.set_state(array)
        if torch is not None:
            torch.set_rng_state(state)

    return restore


def _release() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


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
