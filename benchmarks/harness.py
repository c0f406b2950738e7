"""What every benchmark shares: figures with targets, tables, percentiles, facts of the machine, JSON."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = ("torch", "ray", "optuna", "SQLAlchemy", "fastapi", "pydantic", "numpy", "scikit-learn")


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a benchmark is to run: `quick` is smaller and less sure; `scratch` is a folder of its own, removed after."""

    quick: bool
    scratch: Path


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A measured number, beside its target where there is one (`at_least` or `below`)."""

    name: str
    value: float
    unit: str
    at_least: float | None = None
    below: float | None = None

    @property
    def verdict(self) -> str:
        """`met` or `missed`, empty without a target."""
        if self.at_least is not None:
            return "met" if self.value >= self.at_least else "missed"
        if self.below is not None:
            return "met" if self.value < self.below else "missed"
        return ""

    @property
    def target(self) -> str:
        if self.at_least is not None:
            return f"≥ {self.at_least:g}"
        return f"< {self.below:g}" if self.below is not None else ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of cells under headings; the first column is text, the others are numbers."""

    headings: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one benchmark found: its tables, the figures that targets are set for, and what to know in reading them."""

    tables: Sequence[Table]
    figures: Sequence[Figure] = ()
    notes: Sequence[str] = field(default=())


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` (0 … 1) of the values lie: the nearest rank, never interpolated."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def machine() -> dict[str, Any]:
    """Date, CPU, load and versions: what a figure means nothing without."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _cpu_name(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load_1_min": load(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "versions": {name: _version(name) for name in PACKAGES},
    }


def load() -> float:
    """Processes that wanted a CPU, mean of the last minute."""
    return round(os.getloadavg()[0], 2)


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def write(name: str, outcome: Outcome, *, quick: bool, facts: dict[str, Any], folder: Path = RESULTS) -> Path:
    """Stores the outcome as `<name>-<date>.json`; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    stamp = facts["date"].replace(":", "").replace("-", "")[:15]
    figures = [{**asdict(f), "verdict": f.verdict} for f in outcome.figures]
    document = {"benchmark": name, "quick": quick, **facts, **asdict(outcome), "figures": figures}
    path = folder / f"{name}-{stamp}.json"
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False))
    return path


def text(outcome: Outcome) -> str:
    """The outcome as Markdown tables, which read as well on a terminal."""
    parts = ["\n".join(lines(t.headings, t.rows)) for t in outcome.tables]
    if outcome.figures:
        rows = [(f.name, f"{_cell(f.value)} {f.unit}".strip(), f.target, f.verdict) for f in outcome.figures]
        parts.append("\n".join(lines(("figure", "measured", "target", ""), rows)))
    if outcome.notes:
        parts.append("\n".join(f"- {note}" for note in outcome.notes))
    return "\n\n".join(parts)


def lines(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """An aligned Markdown table, numbers to the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(h), 3, *(len(row[i]) for row in cells)) for i, h in enumerate(headings)]

    def line(values: Sequence[str]) -> str:
        padded = [v.ljust(w) if i == 0 else v.rjust(w) for i, (v, w) in enumerate(zip(values, widths, strict=True))]
        return "| " + " | ".join(padded) + " |"

    rule = "| " + " | ".join("-" * w if i == 0 else "-" * (w - 1) + ":" for i, w in enumerate(widths)) + " |"
    return [line(list(headings)), rule, *(line(row) for row in cells)]


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
