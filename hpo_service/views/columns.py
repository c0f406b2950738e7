"""A study's trials as columns, held in memory and kept up to date by the log; what every chart is made from.

Row i is trial i: numbers have no gaps. A study of 100,000 trials takes some 30 MB. The first look reads all trials;
each later one reads only those that moved since. Not here: which trials a chart shows (`sampling`), what a filter
means (`matching`), any analysis.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from hpo_service.core.definition import StudyDefinition, parse
from hpo_service.core.states import Origin, TrialState
from hpo_service.store import bulk, studies
from hpo_service.store.database import Database

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]

STATES: tuple[str, ...] = tuple(state.value for state in TrialState)
ORIGINS: tuple[str, ...] = tuple(origin.value for origin in Origin)
KINDS: tuple[str | None, ...] = (None, "finite", "nan", "+inf", "-inf")
"""Of a value: none yet, finite, or how it is not."""
_STATE_CODES = {name: code for code, name in enumerate(STATES)}
_ORIGIN_CODES = {name: code for code, name in enumerate(ORIGINS)}
_KIND_CODES = {name: code for code, name in enumerate(KINDS)}
MAX_CELLS = 50_000_000
"""Values of all studies together that are kept, some 500 MB; the study looked at longest ago goes first."""


@dataclass
class ParamColumn:
    """One parameter: `numbers` (NaN where absent or text) and `codes` into `labels` (-1 where absent or a number)."""

    numbers: Floats
    codes: Codes
    labels: list[str] = field(default_factory=list)
    _codes_of: dict[str, int] = field(default_factory=dict)

    def put(self, row: int, value: Any) -> None:
        """Take the value of one trial in, as JSON holds it."""
        if isinstance(value, int | float) and not isinstance(value, bool):
            self.numbers[row], self.codes[row] = float(value), -1
            return
        label = value if isinstance(value, str) else orjson.dumps(value).decode()
        code = self._codes_of.setdefault(label, len(self.labels))
        if code == len(self.labels):
            self.labels.append(label)
        self.numbers[row], self.codes[row] = np.nan, code

    @property
    def categorical(self) -> bool:
        """Whether some trial's value is not a number."""
        return bool(self.labels)


class _Params(Mapping[str, ParamColumn]):
    """The first `n` rows of every parameter, cut when it is asked for: a space may have a thousand."""

    def __init__(self, held: Mapping[str, ParamColumn], n: int) -> None:
        self._held = held
        self._n = n

    def __getitem__(self, name: str) -> ParamColumn:
        whole, n = self._held[name], self._n
        return ParamColumn(whole.numbers[:n], whole.codes[:n], whole.labels, whole._codes_of)

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)


_FLOATS = (
    "target", "resource", "began", "value", "sort_value", "seconds", "violation",
    "created_at", "started_at", "ended_at",
)  # fmt: skip
_INTS = ("cost", "attempts", "losses", "retry_of", "bracket", "rung")
_SMALL = ("state", "origin", "kind")


class StudyColumns:
    """The columns of one study, true up to the log's `seq`. Hold `lock` while reading them.

    state, origin, kind: int8 codes into STATES, ORIGINS, KINDS; bracket, rung, retry_of: -1 where there is none;
    began: the resource that a trial took over with another one's weights, else 0;
    value: the objective's, NaN where missing or not finite; sort_value: NaN where it does not rank (failed trials too);
    violation: by how much it breaks constraints (`constraints.total`), NaN without any, or where that is not known;
    times: seconds since 1970, NaN where there is none; cost: micro-dollars.
    """

    state: npt.NDArray[np.int8]
    origin: npt.NDArray[np.int8]
    kind: npt.NDArray[np.int8]
    bracket: Ints
    rung: Ints
    retry_of: Ints
    attempts: Ints
    losses: Ints
    cost: Ints
    target: Floats
    resource: Floats
    began: Floats
    value: Floats
    sort_value: Floats
    seconds: Floats
    violation: Floats
    created_at: Floats
    started_at: Floats
    ended_at: Floats

    def __init__(self, study_id: str, definition: StudyDefinition) -> None:
        self.study_id = study_id
        self.definition = definition
        self.lock = threading.RLock()
        self.seq = 0
        self.n = 0
        self._room = 0
        self._arrays: dict[str, npt.NDArray[Any]] = {}
        self._params: dict[str, ParamColumn] = {}
        self._metrics: dict[str, Floats] = {}
        self._memory: dict[Any, tuple[int, Any]] = {}
        self._reserve(256)

    @property
    def number(self) -> Ints:
        """The trials' numbers, 0 to n - 1."""
        return np.arange(self.n)

    @property
    def cells(self) -> int:
        """How many values are held."""
        return self.n * (len(self._arrays) + len(self._params) + len(self._metrics))

    @property
    def ranks(self) -> Bools:
        """Which trials have a value that ranks: finite, and not failed."""
        found: Bools = ~np.isnan(self.sort_value)
        return found

    @property
    def feasible(self) -> Bools:
        """Which trials keep all constraints: all of them where there are none, and none of which it is not known."""
        if not self.definition.constraints:
            return np.ones(self.n, dtype=np.bool_)
        found: Bools = self.violation == 0
        return found

    @property
    def counts(self) -> Bools:
        """Which trials may be the best one: they rank, and keep all constraints."""
        return self.ranks & self.feasible

    @property
    def params(self) -> Mapping[str, ParamColumn]:
        """Every parameter that the space has or a trial had, of the first n trials."""
        return _Params(self._params, self.n)

    @property
    def metrics(self) -> Mapping[str, Floats]:
        """The value of every metric: an objective's as it counts, else the last one; NaN where missing."""
        return {name: column[: self.n] for name, column in self._metrics.items()}

    def __getattr__(self, name: str) -> Any:
        arrays = self.__dict__.get("_arrays", {})
        if name in arrays:
            return arrays[name][: self.n]
        raise AttributeError(name)

    def remember(self, key: Any, make: Callable[[], Any]) -> Any:
        """What `make` gave for this `seq`: made once, dropped when the study moves."""
        found = self._memory.get(key)
        if found is None or found[0] != self.seq:
            if len(self._memory) > 64:
                self._memory.clear()
            found = self._memory[key] = (self.seq, make())
        return found[1]

    def take(self, columns: Sequence[Sequence[Any]]) -> None:
        """Put rows in, given as columns of `bulk.FIELDS`; known trials are replaced."""
        given = dict(zip(bulk.FIELDS, columns, strict=True))
        rows = np.asarray(given["number"], dtype=np.int64)
        if not rows.size:
            return
        self._reserve(int(rows[-1]) + 1)
        self.n = max(self.n, int(rows[-1]) + 1)
        put = self._arrays
        put["state"][rows] = [_STATE_CODES[s] for s in given["state"]]
        put["origin"][rows] = [_ORIGIN_CODES[o] for o in given["origin"]]
        put["kind"][rows] = [_KIND_CODES[k] for k in given["value_kind"]]
        for name in ("bracket", "rung", "retry_of"):
            put[name][rows] = [-1 if x is None else x for x in given[name]]
        for name in ("attempts", "losses"):
            put[name][rows] = given[name]
        put["cost"][rows] = given["cost_microdollars"]
        for name in ("target", "resource", "value", "sort_value", "seconds", "violation"):
            put[name][rows] = np.array(given[name], dtype=np.float64)  # None becomes NaN
        put["began"][rows] = [at or 0.0 for at in given["parent_resource"]]
        for name in ("created_at", "started_at", "ended_at"):
            put[name][rows] = np.array(given[name], dtype=np.float64) / 1e6
        self._take_params(rows, _documents(given["params"]))
        self._take_metrics(rows, _documents(given["metrics"]))

    def _take_params(self, rows: Ints, documents: Sequence[Mapping[str, Any]]) -> None:
        for column in self._params.values():
            column.numbers[rows], column.codes[rows] = np.nan, -1
        for row, document in zip(rows.tolist(), documents, strict=True):
            for name, value in document.items():
                column = self._params.get(name) or self._new_param(name)
                if type(value) is float or type(value) is int:
                    column.numbers[row] = value
                else:
                    column.put(row, value)

    def _take_metrics(self, rows: Ints, documents: Sequence[Mapping[str, Any]]) -> None:
        for metric in self._metrics.values():
            metric[rows] = np.nan
        for row, document in zip(rows.tolist(), documents, strict=True):
            for name, value in document.items():
                if isinstance(value, str):  # one of the words for what is not finite
                    continue
                column = self._metrics.get(name)
                if column is None:
                    column = self._metrics[name] = np.full(self._room, np.nan)
                column[row] = value

    def _new_param(self, name: str) -> ParamColumn:
        made = ParamColumn(np.full(self._room, np.nan), np.full(self._room, -1, dtype=np.int32))
        self._params[name] = made
        return made

    def _reserve(self, rows: int) -> None:
        if rows <= self._room:
            return
        room = max(rows, 2 * self._room)
        more = room - self._room
        for names, dtype, empty in ((_FLOATS, np.float64, np.nan), (_INTS, np.int64, -1), (_SMALL, np.int8, 0)):
            for name in names:
                old = self._arrays.get(name, np.empty(0, dtype=dtype))
                self._arrays[name] = np.concatenate([old, np.full(more, empty, dtype=dtype)])
        for column in self._params.values():
            column.numbers = np.concatenate([column.numbers, np.full(more, np.nan)])
            column.codes = np.concatenate([column.codes, np.full(more, -1, dtype=np.int32)])
        for name, metric in self._metrics.items():
            self._metrics[name] = np.concatenate([metric, np.full(more, np.nan)])
        self._room = room


def numeral(number: float) -> str:
    """The number with all its digits: as a label it must tell it from its neighbours."""
    return repr(float(number)).removesuffix(".0")


def _documents(texts: Sequence[str]) -> list[dict[str, Any]]:
    """Many JSON texts read at once, which is several times as fast as one by one."""
    found: list[dict[str, Any]] = orjson.loads("[" + ",".join(texts) + "]")
    return found


class ColumnsCache:
    """The columns of the studies that were looked at last."""

    def __init__(self, db: Database, *, max_cells: int = MAX_CELLS) -> None:
        self._db = db
        self._max_cells = max_cells
        self._known: OrderedDict[str, StudyColumns] = OrderedDict()
        self._guard = threading.Lock()

    @contextmanager
    def at(self, study_id: str, seq: int) -> Iterator[StudyColumns]:
        """The study's columns, true up to `seq` or later, held still meanwhile. Raises NotFound."""
        columns = self._find(study_id)
        with columns.lock:
            if columns.seq < seq or columns.seq == 0:
                self._refresh(columns)
            yield columns
        self._shrink()

    def _find(self, study_id: str) -> StudyColumns:
        with self._guard:
            known = self._known.get(study_id)
            if known is not None:
                self._known.move_to_end(study_id)
                return known
        made = StudyColumns(study_id, parse(studies.get_study(self._db, study_id).definition))
        with self._guard:
            return self._known.setdefault(study_id, made)

    def _refresh(self, columns: StudyColumns) -> None:
        if columns.seq == 0:
            self._read_all(columns, bulk.head(self._db, columns.study_id))
            return
        moved = bulk.moves(self._db, columns.study_id, columns.seq)
        if moved.definition:
            columns.definition = parse(studies.get_study(self._db, columns.study_id).definition)
        if moved.trials is None:
            self._read_all(columns, moved.seq)
            return
        if moved.trials:
            columns.take(bulk.trial_columns_of(self._db, columns.study_id, sorted(moved.trials)))
        columns.seq = moved.seq

    def _read_all(self, columns: StudyColumns, seq: int) -> None:
        """All trials afresh; `seq` was read before them, so that what moves meanwhile is read again."""
        for chunk in bulk.trial_columns(self._db, columns.study_id):
            columns.take(chunk)
        columns.seq = seq

    def _shrink(self) -> None:
        with self._guard:
            cells = sum(columns.cells for columns in self._known.values())
            while cells > self._max_cells and len(self._known) > 1:
                _, gone = self._known.popitem(last=False)
                cells -= gone.cells
