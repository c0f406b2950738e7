"""What training costs: integer micro-dollars from seconds and the prices per CPU- and GPU-hour. Pure."""

from __future__ import annotations

from dataclasses import dataclass

MICRODOLLARS = 1_000_000
HOUR_S = 3600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Prices:
    """Dollars per hour of one CPU and of one GPU."""

    cpu_hour_dollars: float
    gpu_hour_dollars: float

    def charge(self, seconds: float, *, cpu: float, gpu: float) -> int:
        """Micro-dollars for occupying `cpu` CPUs and `gpu` GPUs for `seconds`, rounded to the nearest."""
        per_hour = cpu * self.cpu_hour_dollars + gpu * self.gpu_hour_dollars
        return round(max(seconds, 0.0) / HOUR_S * per_hour * MICRODOLLARS)
