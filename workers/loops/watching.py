"""Looking at what is computed, operation by operation, while it is computed as ever."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode


class Watching(TorchDispatchMode, ABC):
    """While it is active, every operation of torch is carried out and then looked at."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it untyped

    @abstractmethod
    def look(self, func: Callable[..., Any], name: str, args: tuple[Any, ...], found: Any) -> None:
        """At operation `func`, and what it came to; `name` is without the underscore of those that work in place."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False: torch would load its compiler, for most of a second, only to leave this class alone."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        self.look(func, func.overloadpacket.__name__.rstrip("_"), args, found)
        return found
