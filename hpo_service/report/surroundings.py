"""What the best trial ran in: machine, packages, code and data, as its newest attempt recorded them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpo_service.report.blocks import Block, Facts, Text
from hpo_service.report.gathering import Gathered
from hpo_service.report.wording import number, parameters

PACKAGES = ("hpo-service", "torch", "numpy", "ray", "scikit-learn", "optuna", "torchvision", "timm", "transformers")
GIB = 2**30


def blocks(found: Gathered) -> list[Block]:
    """The environment, or why there is none."""
    document = found.environment
    if not document:
        return [Text("No environment was recorded: nothing was trained by the service's own workers.", quiet=True)]
    whose = f"trial {found.best.number}" if found.best is not None else "the best trial"
    remark = f"As recorded by the newest attempt of {whose}."
    if found.environments > 1:
        remark += f" The best trials ran in {found.environments} different environments."
    return [Facts([(name, value) for name, value in facts(document) if value]), Text(remark, quiet=True)]


def facts(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """An environment's document in names and values; what it lacks is empty."""
    packages, code = _mapping(document, "packages"), _mapping(document, "code")
    git, torch = _mapping(code, "git"), _mapping(document, "torch")
    cuda = [
        f"CUDA {torch['cuda']}" if torch.get("cuda") else "",
        f"cuDNN {torch['cudnn']}" if torch.get("cudnn") else "",
    ]
    run = _mapping(document, "run")
    return [
        ("Python", f"{document.get('implementation', '')} {document.get('python', '')}".strip()),
        ("System", str(document.get("os", ""))),
        ("CPU", f"{document['cpu']}, {document.get('cores', '?')} cores" if document.get("cpu") else ""),
        ("GPU", _gpu(_mapping(document, "gpu"))),
        ("Packages", ", ".join(f"{name} {packages[name]}" for name in PACKAGES if name in packages)),
        ("Libraries", ", ".join(part for part in [*cuda, str(_mapping(document, "numpy").get("blas", ""))] if part)),
        ("Variables", parameters(_mapping(document, "variables"))),
        ("Code", ", ".join(f"{name} {value}" for name, value in code.items() if isinstance(value, str))),
        ("Git", f"{git.get('commit', '')}{', with changes' if git.get('diff_sha256') else ''}" if git else ""),
        ("Data", ", ".join(f"{name} {number(value)}" for name, value in _mapping(document, "data").items())),
        ("Trained", ", ".join(f"{name} {number(run[name])}" for name in ("method", "width") if name in run)),
        ("Digest", str(document.get("digest", ""))),
    ]


def _gpu(gpu: Mapping[str, Any]) -> str:
    if not gpu:
        return ""
    memory = gpu.get("memory_bytes")
    size = f" ({memory / GIB:.0f} GiB)" if isinstance(memory, int | float) else ""
    driver = f", driver {gpu['driver']}" if gpu.get("driver") else ""
    return f"{gpu.get('name', '')}{size}{driver}"


def _mapping(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = document.get(name)
    return found if isinstance(found, Mapping) else {}
