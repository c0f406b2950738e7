"""Every operation of a client that is not about one study: written once, run by either driver.

Not here: what one study or trial can do (`study_operations`, `asking`).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hpo_service.client.bundling import Folder, Kind, with_code
from hpo_service.client.core import Handle
from hpo_service.client.definitions import prepare_definition
from hpo_service.client.protocol import Program, address, query
from hpo_service.client.results import (
    Check,
    Comparison,
    Page,
    StudySnapshot,
    Validation,
    Worker,
    items_of,
)
from hpo_service.errors import Ambiguous, InvalidInput, NotFound

Definition = Mapping[str, Any] | str | Path


def create_study(
    client: Handle,
    definition: Definition,
    *,
    name: str | None = None,
    code: Folder | None = None,
    objective: Callable[..., Any] | None = None,
    kind: Kind | None = None,
) -> Program[StudySnapshot]:
    """Submits a definition: a mapping (parameter objects may stand in `space`), or the path of a YAML or JSON file.

    `name` replaces the definition's. `code` is a folder that is uploaded with it, `objective` a function or class that
    is, of this `kind`. Raises `InvalidInput` naming every broken field.
    """
    document = prepare_definition(definition, name=name)
    if code is not None or objective is not None or kind is not None:
        document = yield from with_code(client, document, code=code, objective=objective, kind=kind)
    return StudySnapshot.parse((yield from client._core.post(address("studies"), document)))


def validate(client: Handle, definition: Definition) -> Program[Validation]:
    """What a definition would run (brackets, trials, resource) and about what it would cost; stores nothing."""
    document = prepare_definition(definition)
    return Validation.parse((yield from client._core.post(address("studies", "validate"), document)))


def find_study(client: Handle, id_or_name: str) -> Program[StudySnapshot]:
    """The study of that id or, failing that, of that name.

    Raises `Ambiguous` naming the candidates where several have the name, `NotFound` naming near ones where none has.
    """
    if not id_or_name.strip():
        raise InvalidInput("a study is named by its id or name, but got an empty text", remedy="see `hpo studies`")
    core = client._core
    try:
        return StudySnapshot.parse((yield from core.get(address("studies", id_or_name))))
    except NotFound:
        pass
    page = Page.parse((yield from core.get(address("studies"), query(name=id_or_name, limit=20))))
    found = [study for study in map(StudySnapshot.parse, page.items) if study.name == id_or_name]
    if not found:
        raise NotFound(f"no study has the id or name {id_or_name!r}", remedy=(yield from _near(client, id_or_name)))
    if len(found) > 1:
        candidates = ", ".join(f"{s.id} ({s.state}, {s.trials} trials)" for s in found)
        rule = f"a name must belong to one study, but {len(found)} are called {id_or_name!r}: {candidates}"
        raise Ambiguous(rule, remedy="use the id")
    return StudySnapshot.parse((yield from core.get(address("studies", found[0].id))))


def _near(client: Handle, name: str) -> Program[str]:
    page = Page.parse((yield from client._core.get(address("studies"), query(limit=200))))
    known = [str(item.get("name", "")) for item in page.items]
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(map(repr, close))}?" if close else "see `hpo studies`"


def list_page(client: Handle, path: str, *, cursor: str | None, limit: int, **filters: Any) -> Program[Page]:
    """One page of a list."""
    return Page.parse((yield from client._core.get(path, query(cursor=cursor, limit=limit, **filters))))


def compare(client: Handle, *studies: Any) -> Program[Comparison]:
    """Two or more studies (handles, ids or names) side by side: best so far, and where their definitions differ."""
    if len(studies) < 2:
        raise InvalidInput(f"a comparison needs at least 2 studies, but got {len(studies)}", remedy="name another")
    ids = []
    for study in studies:
        known = getattr(study, "id", None)
        ids.append(known if known is not None else (yield from find_study(client, str(study))).id)
    return Comparison.parse((yield from client._core.get(address("compare"), query(study=ids))))


def workers(client: Handle) -> Program[list[Worker]]:
    """The warm workers, as the controllers last saw them."""
    return items_of(Worker.parse)((yield from client._core.get(address("workers"))))


def schema(client: Handle) -> Program[dict[str, Any]]:
    """The JSON Schema of a study definition."""
    found: dict[str, Any] = yield from client._core.get(address("schema"))
    return found


def doctor(client: Handle) -> Program[list[Check]]:
    """The server's own checks, each with a remedy."""
    found = yield from client._core.get(address("doctor"))
    return [Check.parse(item) for item in found.get("checks", ())]
