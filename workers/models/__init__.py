"""The recipes' networks. Parameters start from an explicit generator; dropout masks come in from outside.

Every model is called as `model(x, masks)`, where `masks` holds one [rows, width] tensor per entry of
`model.dropout_widths` (or is empty). So nothing in here draws random numbers while training, and
models of equal structure can be stacked and trained as lanes.
"""

from workers.models.build import build_model
from workers.models.parts import Network

__all__ = ["Network", "build_model"]
