"""A study's trials as CSV, JSON or Parquet, streamed: no more than a block of rows is in memory at a time."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from hpo_service.api.schemas import trial_answer
from hpo_service.core.constraints import Constraint
from hpo_service.core.values import to_json
from hpo_service.store.rows import TrialRow

MEDIA_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
    "parquet": "application/vnd.apache.parquet",
}
BLOCK = 1000
_TEXT = ("state", "reason", "origin")
_WHOLE = ("number", "retry_of", "parent", "bracket", "rung", "attempts", "losses", "cost_microdollars")
_REAL = ("resource", "target", "value", "seconds", "violation")
_TIMES = ("created_at", "started_at", "ended_at")
_REAL_TYPES = frozenset({"uniform", "quniform", "loguniform", "qloguniform", "normal", "lognormal", "integer",
                         "log_integer", "power_of_two"})  # fmt: skip
FIELDS = ("number", "state", "value", "resource", "target", "origin", "bracket", "rung", "reason", "retry_of",
          "parent", "attempts", "losses", "cost_microdollars", "seconds", *_TIMES)  # fmt: skip


def export(
    trials: Iterable[TrialRow],
    form: str,
    *,
    space: Mapping[str, Any],
    metrics: Sequence[str],
    constraints: Sequence[Constraint] = (),
) -> Iterator[bytes]:
    """The bytes of the export in pieces. The parameters of `space` (a definition's) and `metrics` are columns beside
    the trial's own fields; where there are constraints, `violation` too: 0 where all are kept."""
    rows = iter(trials)
    params = {name: _kind(parameter) for name, parameter in space.items()}
    if form == "json":
        return _json(rows, constraints)
    fields = (*FIELDS, "violation") if constraints else FIELDS
    return _csv(rows, fields, list(params), metrics) if form == "csv" else _parquet(rows, fields, params, metrics)


def _kind(parameter: Any) -> str:
    kind = parameter.get("type") if isinstance(parameter, Mapping) else None
    return "real" if kind in _REAL_TYPES else "text"


def _blocks(rows: Iterator[TrialRow]) -> Iterator[list[TrialRow]]:
    while block := list(islice(rows, BLOCK)):
        yield block


def _csv(
    rows: Iterator[TrialRow], fields: Sequence[str], params: Sequence[str], metrics: Sequence[str]
) -> Iterator[bytes]:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*fields, *(f"param.{p}" for p in params), *(f"metric.{m}" for m in metrics)])
    for block in _blocks(rows):
        for row in block:
            own = [_cell(getattr(row, name)) for name in fields]
            writer.writerow(
                [*own, *(_cell(row.params.get(p)) for p in params), *(_cell(row.values.get(m)) for m in metrics)]
            )
        yield _taken(buffer)
    yield _taken(buffer)


def _taken(buffer: io.StringIO) -> bytes:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text.encode()


def _cell(value: Any) -> Any:
    """A cell's text. Text that a spreadsheet would run as a formula gets a leading apostrophe."""
    if isinstance(value, float):
        return to_json(value)
    if isinstance(value, dict | list | tuple | bool):
        return json.dumps(value)
    if value is not None and hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return value


def _json(rows: Iterator[TrialRow], constraints: Sequence[Constraint]) -> Iterator[bytes]:
    yield b"["
    first = True
    for block in _blocks(rows):
        text = ",\n".join(trial_answer(row, constraints).model_dump_json() for row in block)
        yield (b"\n" if first else b",\n") + text.encode()
        first = False
    yield b"\n]\n"


class _Pipe(io.RawIOBase):
    """A file that only grows: what was written is taken from it piece by piece."""

    def __init__(self) -> None:
        self._pieces = bytearray()
        self._position = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._pieces += piece
        self._position += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._position

    def take(self) -> bytes:
        """What was written since the last call."""
        piece = bytes(self._pieces)
        self._pieces.clear()
        return piece


def _parquet(
    rows: Iterator[TrialRow], fields: Sequence[str], params: Mapping[str, str], metrics: Sequence[str]
) -> Iterator[bytes]:
    import pyarrow as pa  # 100 ms to import, and few exports are Parquet
    import pyarrow.parquet as pq

    kinds = dict.fromkeys(_WHOLE, pa.int64()) | dict.fromkeys(_REAL, pa.float64())
    kinds |= dict.fromkeys(_TEXT, pa.string()) | dict.fromkeys(_TIMES, pa.timestamp("us", tz="UTC"))
    schema = pa.schema(
        [(name, kinds[name]) for name in fields]
        + [(f"param.{p}", pa.float64() if kind == "real" else pa.string()) for p, kind in params.items()]
        + [(f"metric.{m}", pa.float64()) for m in metrics]
    )
    pipe = _Pipe()
    with pq.ParquetWriter(pipe, schema) as writer:
        for block in _blocks(rows):
            writer.write_table(pa.Table.from_pydict(_columns(block, fields, params, metrics), schema=schema))
            yield pipe.take()
    yield pipe.take()


def _columns(
    block: list[TrialRow], fields: Sequence[str], params: Mapping[str, str], metrics: Sequence[str]
) -> dict[str, list[Any]]:
    """Columns of one block. Choices are JSON text: their values may be of several types."""
    columns: dict[str, list[Any]] = {name: [getattr(row, name) for row in block] for name in fields}
    for name in _TEXT:
        columns[name] = [str(getattr(value, "value", value)) for value in columns[name]]
    for p, kind in params.items():
        plain = [row.params.get(p) for row in block]
        columns[f"param.{p}"] = plain if kind == "real" else [None if v is None else json.dumps(v) for v in plain]
    for m in metrics:
        columns[f"metric.{m}"] = [row.values.get(m) for row in block]
    return columns
