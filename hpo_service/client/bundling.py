"""Code on its way to the workers: a folder, or a function with what it needs, bundled, uploaded once, and named in the
definition. Not here: how a bundle is built (`hpo_service.bundles`), how a function becomes source (`capturing`).
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hpo_service.client.core import Handle
from hpo_service.client.protocol import Exchange, Program, Request, address, query, send
from hpo_service.errors import InvalidInput, NotFound
from hpo_service.settings import load_settings

if TYPE_CHECKING:
    from hpo_service.bundles.archive import Bundle

UPLOAD_S = 600.0
KINDS = ("function", "ray_tune", "optuna", "recipe")
Kind = Literal["function", "ray_tune", "optuna", "recipe"]
Folder = str | Path


@dataclass(frozen=True, kw_only=True)
class Code:
    """A bundle that the server has. `files` are its names; `uploaded` is False where the server had it before."""

    digest: str
    files: tuple[str, ...]
    size_bytes: int
    uploaded: bool


def upload_code(client: Handle, folder: Folder, *, project: str = "default") -> Program[Code]:
    """Bundles a folder and uploads it, unless the server has it; `trainer: {bundle: DIGEST}` names it then.

    Raises `InvalidInput` for a folder that cannot be bundled, `TooLarge` naming the largest files.
    """
    return (yield from send_bundle(client, _folder(folder), project=project))


def send_bundle(client: Handle, bundle: Bundle, *, project: str) -> Program[Code]:
    """Uploads a bundle that the server does not have."""
    known = True
    try:
        asked = Request(method="HEAD", path=address("bundles", bundle.digest), query=query(project=project))
        yield from send(Exchange(asked), client._core.policy)
    except NotFound:
        known = False
        sent = Request(
            method="POST",
            path=address("bundles"),
            query=query(project=project),
            body=bundle.archive,
            headers={"Accept": "application/json", "Content-Type": "application/octet-stream"},
            timeout_s=UPLOAD_S,
        )
        yield from send(Exchange(sent), client._core.policy)
    return Code(digest=bundle.digest, files=tuple(bundle.manifest), size_bytes=bundle.size, uploaded=not known)


def with_code(
    client: Handle,
    document: Mapping[str, Any],
    *,
    code: Folder | None = None,
    objective: Callable[..., Any] | None = None,
    kind: Kind | None = None,
) -> Program[dict[str, Any]]:
    """The definition with its code uploaded and named: the folder `code`, the function or class `objective`, both."""
    trainer = dict(document.get("trainer") or {})
    if objective is None:
        if kind is not None:
            raise InvalidInput("kind says what objective= is, but there is none", remedy="give objective=, or no kind")
        bundle = _folder(code) if code is not None else None
    else:
        chosen = kind or kind_of(objective, trainer)
        if chosen not in KINDS:
            raise InvalidInput(f"kind is one of {', '.join(KINDS)}, but got {chosen!r}", remedy="correct it")
        path, bundle = of_objective(objective, code)
        trainer = {name: value for name, value in trainer.items() if name not in (*KINDS, "external")}
        trainer[chosen] = path
    if bundle is not None:
        project = str(document.get("project") or "default")
        trainer["bundle"] = (yield from send_bundle(client, bundle, project=project)).digest
    return {**document, "trainer": trainer}


def kind_of(objective: Callable[..., Any], trainer: Mapping[str, Any]) -> str:
    """What the objective is: what the definition's trainer names; else told from the thing itself. A class is a Ray
    Tune trainable where it can `step`, else a recipe; a function is Ray Tune's where its first parameter is `config`,
    Optuna's where it asks its parameter to `suggest_…`, and else our own.
    """
    named = [name for name in KINDS if trainer.get(name)]
    if named:
        return named[0]
    if isinstance(objective, type):
        return "ray_tune" if hasattr(objective, "step") or hasattr(objective, "setup") else "recipe"
    try:
        first = next(iter(inspect.signature(objective).parameters), "")
        source = inspect.getsource(objective)
    except (OSError, TypeError, ValueError):
        return "function"
    if first == "config":
        return "ray_tune"
    return "optuna" if first and f"{first}.suggest_" in source else "function"


def of_objective(objective: Callable[..., Any], code: Folder | None) -> tuple[str, Bundle]:
    """The import path of a function or class in the bundle that is made for it, and that bundle: the folder `code`, or
    the module and what it imports from this machine's own folders; of what no module holds, the captured source."""
    from hpo_service.bundles.building import from_files  # lazy, here and below: few programs send code
    from hpo_service.client.capturing import MODULE, capture
    from hpo_service.client.local_modules import local_files

    _require_nameable(objective)
    module, name = objective.__module__, objective.__qualname__
    if module != "__main__" and "<locals>" not in name:
        return f"{module}:{name}", _of_module(module, code)
    captured = capture(objective)
    made = {f"{MODULE}.py": captured.source.encode()}
    if code is None:
        return f"{MODULE}:{captured.name}", from_files({**local_files(sorted(captured.imports)), **made})
    return f"{MODULE}:{captured.name}", _folder(code, made)


def _of_module(module: str, code: Folder | None) -> Bundle:
    from hpo_service.bundles.building import from_files
    from hpo_service.client.local_modules import local_files, root_of

    root = root_of(module.partition(".")[0])
    if code is None:
        files = local_files([module])
        if not files:
            raise InvalidInput(
                f"an objective is bundled with its module's source, but {module!r} is installed or has none",
                remedy="name it in the definition instead: trainer.function, for the workers have it",
            )
        return from_files(files)
    if root is not None and root != Path(code).resolve():
        raise InvalidInput(
            f"the objective's module must lie in the folder code={str(code)!r}, but {module!r} lies in {root}",
            remedy=f"give code={str(root)!r}, or leave code out",
        )
    return _folder(code)


def _require_nameable(objective: Any) -> None:
    fitting = isinstance(objective, types.FunctionType | type)
    if not fitting or objective.__name__ == "<lambda>":
        raise InvalidInput(
            f"an objective is a function or a class with a name, but got {objective!r}"[:300],
            remedy="write def train(trial): …; fixed arguments go into trainer.params",
        )


def _folder(code: Folder, made: Mapping[str, bytes] | None = None) -> Bundle:
    """The bundle of a folder, and of files made beside; the server's data are never taken along."""
    from hpo_service.bundles.archive import Limits
    from hpo_service.bundles.building import from_folder

    settings = load_settings()
    limits = Limits(archive_bytes=settings.max_bundle_bytes, unpacked_bytes=4 * settings.max_bundle_bytes)
    return from_folder(Path(code), limits=limits, leave_out=[settings.data], more=made or {})
