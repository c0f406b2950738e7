"""Optional packages: imported when needed, refused with the line that installs them."""

from __future__ import annotations

import importlib
from typing import Any

from hpo_service.errors import Unsupported


def need(module: str, *, pip: str) -> Any:
    """The imported module; raises `Unsupported` naming the pip line where it or a package that it needs is missing."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        own = f"{module}.".startswith(f"{error.name}.")
        missing = "is not installed" if own else f"needs {error.name}, which is not installed"
        raise Unsupported(f"{package} {missing}", remedy=f"run: pip install {pip}") from None
