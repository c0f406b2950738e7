"""What an archived study may hold, wherever the archive comes from: values that belong in their columns, a study at
rest that says what its definition says, a log that is the study's, environments that are what their digests name.

Everything here raises InvalidInput and reads no table.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Double, Table, Text

from hpo_service.core.definition import StudyDefinition
from hpo_service.core.events import DefinitionChanged, StudyCreated
from hpo_service.core.states import ENDED_STUDY, AttemptState, Origin, StudyState, TrialState
from hpo_service.errors import InvalidInput
from hpo_service.store import texts
from hpo_service.store.mapping import constraints_column, study_row
from hpo_service.store.tables import studies
from hpo_service.store.tx import clean

RESTING = frozenset(state.value for state in ENDED_STUDY | {StudyState.PAUSED})
WHOLE_TEXT_BYTES = 256 << 10
"""Of longer texts the beginning alone may be stored, under the digest of all."""
_REPLACED = "\ufffd"
_OWN = frozenset({"id", "project", "lease_holder", "lease_expires_at", "deleted_at", "purged"})
_KINDS: Mapping[type[Any], tuple[type, ...]] = {
    BigInteger: (int,),
    Double: (int, float),
    Text: (str,),
    Boolean: (bool,),
}
_WORDS: Mapping[str, frozenset[str]] = {
    "studies.state": RESTING,
    "trials.state": frozenset(TrialState) - {TrialState.RUNNING},
    "trials.origin": frozenset(Origin),
    "attempts.state": frozenset(AttemptState) - {AttemptState.OPEN},
}
"""What may stand in columns of words: at rest nothing is under way."""
_LATER: Mapping[str, int] = {"studies": 2, "trials": 1, "reports": 1}
"""So many columns at a table's end came after the first archives: left out of a row where they hold nothing, so that a
study that has no use for them has the same archive, with the same digest, as before."""
REMEDY = "archive the study again with `hpo archive`"
_OF_ATTEMPTS = ("code", "data", "run", "variables")
_DEFINING = (StudyCreated.kind, DefinitionChanged.kind)
Row = Sequence[Any]


def columns_of(table: Table) -> list[str]:
    """The columns that are carried, in their order."""
    skipped = _OWN if table is studies else {"study_id"}
    return [column.name for column in table.columns if column.name not in skipped]


def trimmed(table: Table, row: Row) -> Row:
    """The row as archives hold it."""
    least, size = len(columns_of(table)) - _LATER.get(table.name, 0), len(row)
    while size > least and row[size - 1] is None:
        size -= 1
    return row[:size]


def checked(table: Table, row: Row) -> list[Any]:
    """The row's values, each of the kind that its column holds. Raises InvalidInput."""
    names = columns_of(table)
    lacking = len(names) - len(row)
    if 0 < lacking <= _LATER.get(table.name, 0):
        row = (*row, *[None] * lacking)
    if len(row) != len(names):
        raise InvalidInput(f"a row of {table.name} has {len(names)} values, but got {len(row)}")
    return [_value(table.c[name], value) for name, value in zip(names, row, strict=True)]


def checked_study(given: Mapping[str, Any], definition: StudyDefinition) -> dict[str, Any]:
    """The study's own row as an archive tells it, whose definition was read before. Raises InvalidInput for one that is
    not at rest, that nobody could read, or that says otherwise than its definition."""
    names = columns_of(studies)
    given = dict.fromkeys(names[-_LATER["studies"] :]) | dict(given)
    missing = [name for name in names if name not in given]
    if missing:
        raise InvalidInput(f"an archived study has the columns of one, but not {missing[:5]}", remedy=REMEDY)
    row = dict(zip(names, checked(studies, [given[name] for name in names]), strict=True))
    try:
        read = study_row(SimpleNamespace(**row, id="", project=definition.project))  # type: ignore[arg-type]
        metrics = [str(one["metric"]) for one in json.loads(row["objectives"])]
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise InvalidInput(f"an archived study can be read, but {error!r:.200}", remedy=REMEDY) from None
    told = (read.open_attempts, read.external, read.parallel, row["retries"], read.priority, row["confirms"], metrics,
            row["constraints"])  # fmt: skip
    if told != (0, *_of_definition(definition)):
        raise InvalidInput(
            f"an archived study has no attempt open, and what it says of its definition is true, but got {told!r:.200}",
            remedy=REMEDY,
        )
    return row


def _of_definition(definition: StudyDefinition) -> tuple[Any, ...]:
    """What a study's row says of its definition, in columns of its own."""
    confirms = None if definition.confirms is None else definition.confirms.study
    metrics = [objective.metric for objective in definition.objectives]
    return (
        definition.trainer.external, definition.parallel, definition.retries, definition.priority, confirms, metrics,
        constraints_column(definition.constraints),
    )  # fmt: skip


def checked_environment(digest: str, document: str) -> tuple[str, str]:
    """The environment, if it is the one that its digest names."""
    _require_clean(digest)
    _require_clean(document)
    if not _proven(digest, document):
        raise InvalidInput(f"an environment has the digest of what it holds, but {digest!r:.80} has not", remedy=REMEDY)
    return digest, document


def checked_text(digest: str, content: str) -> tuple[str, str]:
    """The text, if it may be the one that its digest names."""
    _require_clean(digest)
    _require_clean(content)
    if not _may_be(digest, content):
        raise InvalidInput(f"a text is named by its SHA-256, but {digest!r:.80} is not", remedy=REMEDY)
    return digest, content


class Log:
    """The events as they pass by, oldest first. Whoever folds them goes by the definition in them, while what a study
    may run is judged by the study's own: both are to be the same."""

    def __init__(self) -> None:
        self._last = 0
        self._newest: Any = None

    def take(self, row: Mapping[str, Any]) -> None:
        """The next row of `events`. Raises InvalidInput for one out of turn, or that cannot be read."""
        if row["seq"] != self._last + 1:
            raise InvalidInput(
                f"a log is numbered on without gaps, but after {self._last} came {row['seq']}", remedy=REMEDY
            )
        self._last += 1
        if row["kind"] in _DEFINING:
            try:
                self._newest = json.loads(row["payload"])["definition"]
            except (ValueError, KeyError, TypeError, RecursionError):
                raise InvalidInput(f"event {row['seq']} tells of a definition, but has none", remedy=REMEDY) from None

    def require_of(self, study: Mapping[str, Any]) -> None:
        """Raises InvalidInput where it is not this study's."""
        if self._last != study["last_seq"]:
            raise InvalidInput(f"the log ends with {study['last_seq']}, but got {self._last}", remedy=REMEDY)
        if self._newest != json.loads(study["definition"]):
            raise InvalidInput("a study has the newest definition of its log, but this one has another", remedy=REMEDY)


def _proven(digest: str, document: str) -> bool:
    """Whether an environment is the one that its digest names: `workers.environment` makes them."""
    try:
        found = json.loads(document)
        if found.pop("digest", None) is None:
            return hashlib.sha256(document.encode()).hexdigest() == digest
        own = {name: found.pop(name) for name in _OF_ATTEMPTS if name in found}
        return _sha256({"base": _sha256(found), **own}) == digest
    except (ValueError, AttributeError, RecursionError):
        return False


def _may_be(digest: str, content: str) -> bool:
    """Whether the text may be the one that its digest names. That cannot be said of one that was cut, nor of one whose
    bytes were no UTF-8 and were replaced."""
    if len(digest) != len(_sha256({})) or len(content) > texts.MOST_CHARACTERS:
        return False
    unsure = len(content.encode()) >= WHOLE_TEXT_BYTES or _REPLACED in content
    return unsure or hashlib.sha256(content.encode()).hexdigest() == digest


def _sha256(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _require_clean(text: str) -> None:
    if clean(text) != text:
        raise InvalidInput(f"texts have no NUL and no halves of characters, but got {text!r:.80}", remedy=REMEDY)


def _value(column: Column[Any], value: Any) -> Any:
    if value is None and column.nullable:
        return None
    kinds = next(kinds for kind, kinds in _KINDS.items() if isinstance(column.type, kind))
    name = f"{column.table.name}.{column.name}"
    if type(value) not in kinds:
        raise InvalidInput(f"{name} holds {kinds[-1].__name__}, but got {value!r:.80}", remedy=REMEDY)
    if isinstance(value, str):
        _require_clean(value)
        if value not in _WORDS.get(name, (value,)):
            raise InvalidInput(f"{name} of a study at rest is none of its words: {value!r:.80}", remedy=REMEDY)
        return value
    if (not -(2**63) <= value < 2**63 and isinstance(value, int)) or not math.isfinite(value):
        raise InvalidInput(f"{name} holds numbers of 64 bits that are finite, but got {value!r:.80}", remedy=REMEDY)
    return float(value) if isinstance(column.type, Double) else value
