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
from search_spaces.schema import json_schema
from search_spaces.space import MAX_PARAMETERS, SearchSpace

__all__ = [
    "MAX_PARAMETERS",
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
    "SearchSpace",
    "SpaceError",
    "Uniform",
    "json_schema",
    "parse_parameter",
]
