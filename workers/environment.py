"""What an attempt ran on and with: enough to say later why a repetition differs.

Captured once per process; JSON-able. Secrets live in environment variables, so none of those is recorded.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_GIT_TIMEOUT_S = 5.0
_DIFF_LIMIT_BYTES = 4 << 20


def digest(value: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON of `value` (keys sorted, no spaces)."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def capture(
    *, device: str, code: Mapping[str, Any], data: Mapping[str, Any] | None, run: Mapping[str, Any]
) -> dict[str, Any]:
    """The environment of one attempt: the process's, plus its code, data and how it is run. Holds its own digest."""
    base, base_digest = _base(device)
    own: dict[str, Any] = {"code": dict(code), "data": dict(data) if data else None, "run": dict(run)}
    return {**base, **own, "digest": digest({"base": base_digest, **own})}


@functools.cache
def _base(device: str) -> tuple[dict[str, Any], str]:
    base: dict[str, Any] = {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "os": platform.platform(),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "packages": packages(),
        "torch": _torch(),
        "gpu": _gpu() if device.startswith("cuda") else None,
    }
    return base, digest(base)


@functools.cache
def packages() -> dict[str, str]:
    """Name → version of every installed distribution."""
    found = {}
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        if name:
            found[name.lower()] = distribution.version
    return dict(sorted(found.items()))


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _torch() -> dict[str, Any] | None:
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    cudnn = torch.backends.cudnn
    return {
        "version": str(torch.__version__),
        "cuda": torch.version.cuda,
        "cudnn": cudnn.version() if torch.cuda.is_available() else None,
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "mkldnn": torch.backends.mkldnn.is_available(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }


def _gpu() -> dict[str, Any] | None:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    properties = torch.cuda.get_device_properties(0)
    return {
        "name": properties.name,
        "memory_bytes": properties.total_memory,
        "capability": f"{properties.major}.{properties.minor}",
        "driver": _driver(),
    }


def _driver() -> str | None:
    try:
        text = Path("/proc/driver/nvidia/version").read_text()
    except OSError:
        return None
    words = text.partition("Module")[2].split()
    return next((word for word in words if word[:1].isdigit()), None)


def determinism(*, asked: bool) -> dict[str, Any]:
    """The switches that decide whether kernels repeat bit for bit."""
    torch = sys.modules.get("torch")
    if torch is None:
        return {"asked": asked}
    return {
        "asked": asked,
        "algorithms": torch.are_deterministic_algorithms_enabled(),
        "cudnn_deterministic": torch.backends.cudnn.deterministic,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "allow_tf32": torch.backends.cuda.matmul.allow_tf32,
        "threads": torch.get_num_threads(),
    }


def files_digest(files: Mapping[str, Path]) -> str:
    """SHA-256 over names and contents, in the order of the names."""
    sha = hashlib.sha256()
    for name in sorted(files):
        sha.update(name.encode() + b"\0" + hashlib.sha256(files[name].read_bytes()).digest())
    return sha.hexdigest()


@functools.cache
def own_sources_digest() -> str:
    """Digest of this package's sources: the code of every recipe."""
    root = Path(__file__).resolve().parent
    return files_digest({path.relative_to(root).as_posix(): path for path in root.rglob("*.py")})


def git_state(directory: Path) -> dict[str, Any] | None:
    """Commit, and the digest of what is changed under `directory`; None outside a git work tree (or without git)."""
    commit = _git(directory, "rev-parse", "HEAD")
    if commit is None:
        return None
    diff = _git(directory, "diff", "HEAD", "--no-ext-diff", "--", ".")
    changed = (diff or b"")[:_DIFF_LIMIT_BYTES]
    return {
        "commit": commit.decode().strip(),
        "diff_sha256": hashlib.sha256(changed).hexdigest() if changed else None,
    }


def _git(directory: Path, *arguments: str) -> bytes | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(directory), *arguments],
            capture_output=True,
            check=True,
            timeout=_GIT_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
