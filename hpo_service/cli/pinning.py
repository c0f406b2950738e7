"""The environment of a record as files for pip: pinned requirements, and the changes on top of the commit. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hpo_service.errors import InvalidInput

TORCH_INDEX = "https://download.pytorch.org/whl/"
_TOOLS = frozenset({"pip", "setuptools", "wheel", "uv", "distribute"})
_OURS = "hpo-service"
_BUILD = re.compile(r"\+(cpu|cu\d+|rocm[\d.]+)$")


def last_environment(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the last attempt that says so ran with. Raises InvalidInput where none does."""
    known = record.get("environments") or {}
    for segment in reversed(record.get("segments") or []):
        if segment.get("environment") in known:
            found: Mapping[str, Any] = known[segment["environment"]]
            return found
    raise InvalidInput(
        "a record names the environment of its attempts, but this one has none", remedy="train it with what you have"
    )


def software(record: Mapping[str, Any]) -> dict[str, str]:
    """In words what a new environment is made with: Python, torch, operating system, processor, GPU, code."""
    told = last_environment(record)
    torch, gpu = told.get("torch") or {}, told.get("gpu") or {}
    git = (told.get("code") or {}).get("git") or {}
    found = {
        "python": f"{told.get('python')} ({told.get('implementation', 'CPython')})",
        "torch": f"{torch['version']}, CUDA {torch.get('cuda') or 'none'}" if torch else "",
        "os": str(told.get("os", "")),
        "cpu": str(told.get("cpu", "")),
        "gpu": f"{gpu.get('name')}, driver {gpu.get('driver')}" if gpu else "",
        "code": (told.get("code") or {}).get("entry_point", ""),
        "bundle": (record.get("trainer") or {}).get("bundle", ""),
        "commit": git.get("commit", ""),
    }
    return {name: value for name, value in found.items() if value}


def requirements(record: Mapping[str, Any]) -> str:
    """The text of a requirements.txt with every package at its version. Builds of torch bring their index; this service
    and the tools that install are comments."""
    packages: Mapping[str, str] = last_environment(record).get("packages") or {}
    head = [f"# trial {record['trial']['number']} of study {record['study']['id']}, as its last attempt ran"]
    head += [f"# {name}: {value}" for name, value in software(record).items()]
    builds = {match[1] for name, version in packages.items() if name == "torch" and (match := _BUILD.search(version))}
    head += [f"--extra-index-url {TORCH_INDEX}{build}" for build in sorted(builds)]
    lines = [_line(name, version) for name, version in sorted(packages.items())]
    return "\n".join([*head, *lines]) + "\n"


def _line(name: str, version: str) -> str:
    if name in _TOOLS:
        return f"# {name}=={version}"
    if name == _OURS:
        return f"# {name}=={version}  (install it as you did here, with the extra: worker)"
    return f"{name}=={version}"


def changes(record: Mapping[str, Any]) -> str:
    """The diff on top of the recorded commit; empty where there was none."""
    git = (last_environment(record).get("code") or {}).get("git") or {}
    return str((record.get("texts") or {}).get(git.get("diff_sha256"), ""))
