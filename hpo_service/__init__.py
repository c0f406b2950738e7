"""hpo-service: hyperparameter optimization studies as a service. The names here are the Python SDK's.

They are loaded when first used, so that importing the package (on a worker or a server, say) loads nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpo_service.client import (
        AsyncClient,
        AsyncStudy,
        AsyncTrial,
        Client,
        RetryPolicy,
        Study,
        Trial,
    )
    from hpo_service.client.discovery import Discovered, discover
    from hpo_service.errors import (
        Ambiguous,
        Conflict,
        FenceRefused,
        FieldProblem,
        Forbidden,
        HpoError,
        InvalidInput,
        NotFound,
        ReportContradicts,
        TooLarge,
        TooManyRequests,
        Unauthorized,
        Unavailable,
        Unsupported,
    )
    from hpo_service.foreign.csv_history import read_csv
    from hpo_service.foreign.definitions import ImportedDefinition, import_definition
    from hpo_service.foreign.optuna_history import read_optuna
    from hpo_service.foreign.ray_history import read_ray_tune

_HOMES = {
    **dict.fromkeys(
        ("AsyncClient", "AsyncStudy", "AsyncTrial", "Client", "RetryPolicy", "Study", "Trial"),
        "hpo_service.client",
    ),
    **dict.fromkeys(("Discovered", "discover"), "hpo_service.client.discovery"),
    **dict.fromkeys(("ImportedDefinition", "import_definition"), "hpo_service.foreign.definitions"),
    "read_csv": "hpo_service.foreign.csv_history",
    "read_optuna": "hpo_service.foreign.optuna_history",
    "read_ray_tune": "hpo_service.foreign.ray_history",
    **dict.fromkeys(
        (
            "Ambiguous",
            "Conflict",
            "FenceRefused",
            "FieldProblem",
            "Forbidden",
            "HpoError",
            "InvalidInput",
            "NotFound",
            "ReportContradicts",
            "TooLarge",
            "TooManyRequests",
            "Unauthorized",
            "Unavailable",
            "Unsupported",
        ),
        "hpo_service.errors",
    ),
}

__all__ = [
    "Ambiguous",
    "AsyncClient",
    "AsyncStudy",
    "AsyncTrial",
    "Client",
    "Conflict",
    "Discovered",
    "FenceRefused",
    "FieldProblem",
    "Forbidden",
    "HpoError",
    "ImportedDefinition",
    "InvalidInput",
    "NotFound",
    "ReportContradicts",
    "RetryPolicy",
    "Study",
    "TooLarge",
    "TooManyRequests",
    "Trial",
    "Unauthorized",
    "Unavailable",
    "Unsupported",
    "discover",
    "import_definition",
    "read_csv",
    "read_optuna",
    "read_ray_tune",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
