"""Bringing trials of other tools to the server: written once, run by either driver.

Not here: reading what other tools wrote (`foreign`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo_service.client.core import Handle
from hpo_service.client.definitions import prepare_definition
from hpo_service.client.protocol import Program, address, query
from hpo_service.client.results import StudySnapshot
from hpo_service.client.study_operations import StudyBase
from hpo_service.errors import InvalidInput
from hpo_service.foreign.history import History

Definition = Mapping[str, Any] | str | Path


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What became of a history. `outside`: what the study's space does not allow, at most 1,000 lines of it;
    `outside_count`: of how many trials; `notes`: what was not carried."""

    study: StudySnapshot
    trials: tuple[int, ...]
    outside: tuple[str, ...]
    outside_count: int
    notes: tuple[str, ...]


def import_history(
    client: Handle,
    history: History,
    definition: Definition | None = None,
    *,
    name: str | None = None,
    outside: str = "keep",
) -> Program[Imported]:
    """Makes a study with the history's trials. Without a definition of yours it is external and has ended: `resume`
    goes on with it. With one it is paused until you resume it. `outside`: keep or refuse what its space does not allow.

    Raises InvalidInput where the definition's objectives are not the history's."""
    document = history.definition(name=name) if definition is None else prepare_definition(definition, name=name)
    history = _for(document, history)
    made = yield from client._core.call("POST", address("studies"), query=query(paused=1), body=document)
    finish = f"imported from {history.source}" if definition is None else None
    return (yield from _send(client, StudySnapshot.parse(made), history, outside=outside, finish=finish))


def import_into_study(study: StudyBase, history: History, *, outside: str = "keep") -> Program[Imported]:
    """Adds a history's trials to this study, under the next numbers: its algorithm learns from them."""
    found = yield from study._core.get(address("studies", study.id))
    history = _for(found["definition"], history)
    return (yield from _send(study, StudySnapshot.parse(found), history, outside=outside, finish=None))


def _for(document: Mapping[str, Any], history: History) -> History:
    """The history with the definition's metrics, matched in their order."""
    told: Any = document.get("objective") or document.get("objectives") or []
    wanted = [one if isinstance(one, Mapping) else {} for one in (told if isinstance(told, list) else [told])]
    directions = [str(one.get("direction", "minimize")) for one in wanted]
    if directions != [direction for _, direction in history.objectives]:
        shown = ", ".join(f"{metric} ({direction})" for metric, direction in history.objectives)
        raise InvalidInput(
            f"the study's objectives must be those of the history, {shown}, but are {directions}",
            remedy="give as many objectives in the same directions",
        )
    return history.renamed([str(one.get("metric")) for one in wanted])


def _send(
    client: Handle, study: StudySnapshot, history: History, *, outside: str, finish: str | None
) -> Program[Imported]:
    numbers: list[int] = []
    told: list[str] = []
    count = 0
    batches = list(history.batches()) or [[]]
    for place, batch in enumerate(batches):
        body: dict[str, Any] = {"trials": batch, "outside": outside}
        if finish is not None and place == len(batches) - 1:
            body["finish"] = finish
        key = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:40]
        answer = yield from client._core.call(
            "POST",
            address("studies", study.id, "trials", "import"),
            body=body,
            headers={"Idempotency-Key": f"import-{place}-{key}"},
        )
        numbers += answer["trials"]
        told += [f"trial {one['trial']}: {one['message']}" for one in answer["outside"]]
        count += answer["outside_count"]
    found = StudySnapshot.parse((yield from client._core.get(address("studies", study.id))))
    return Imported(study=found, trials=tuple(numbers), outside=tuple(told), outside_count=count, notes=history.notes)
