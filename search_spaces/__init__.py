"""What can be tuned: parameters, search spaces, and their conversions. Pure: Pydantic and NumPy at most.

Not here: studies, trials, algorithms, storage. Nothing of the service is imported.
"""

from search_spaces.errors import SpaceError
from search_spaces.parameters import (
    PARAMETER_TYPES,
    BaseParameter,
    Choice,
    Constant,
    Integer,
    LogInteger,
    LogNormal,
    LogUniform,
    Normal,
    Ordinal,
    Parameter,
    PowerOfTwo,
    QLogUniform,
    QUniform,
    Uniform,
    parse_parameter,
)

__all__ = [
    "PARAMETER_TYPES",
    "BaseParameter",
    "Choice",
    "Constant",
    "Integer",
    "LogInteger",
    "LogNormal",
    "LogUniform",
    "Normal",
    "Ordinal",
    "Parameter",
    "PowerOfTwo",
    "QLogUniform",
    "QUniform",
    "SpaceError",
    "Uniform",
    "parse_parameter",
]
