"""What an attempt ran on and with: enough to say later why a repetition differs.

JSON-able; what cannot change within a process is captured once. Of the environment variables only those listed here are
recorded, and only values that are numbers, names of devices or well-known words: secrets live in environment variables.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_GIT_TIMEOUT_S = 5.0
DIFF_LIMIT_BYTES = 256 << 10
"""Of a longer diff the beginning is kept; its digest is of all of it."""
_UNTRACKED_FILES = 50

_COUNTS = r"\d{1,6}(,\d{1,6}){0,7}"
_SWITCH = r"(?i)[01]|true|false|yes|no|on|off"
_DEVICE = r"(\d{1,3}|(GPU|MIG)-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})"
_DEVICES = rf"|-1|all|none|void|{_DEVICE}(,{_DEVICE})*"
_INSTRUCTIONS = (
    r"(?i)default|compatible|auto|avx|avx2|avx2_vnni|avx512|avx512_core(_vnni|_bf16|_amx)?|avx512_e1|avx512_mic|sse41|"
    r"sse4_2|vsx|zvector|haswell|skylakex|zen|sandybridge|cooperlake|sapphirerapids|nehalem|(avx|avx2|avx512),strict"
)
VARIABLES: Mapping[str, str] = {
    "ATEN_CPU_CAPABILITY": _INSTRUCTIONS,
    "CUBLAS_WORKSPACE_CONFIG": r"(:\d{1,6}:\d{1,3}){1,4}",
    "CUDA_DEVICE_ORDER": r"FASTEST_FIRST|PCI_BUS_ID",
    "CUDA_LAUNCH_BLOCKING": _SWITCH,
    "CUDA_MODULE_LOADING": r"LAZY|EAGER|DEFAULT",
    "CUDA_VISIBLE_DEVICES": _DEVICES,
    "DNNL_MAX_CPU_ISA": _INSTRUCTIONS,
    "KMP_DETERMINISTIC_REDUCTION": _SWITCH,
    "MKL_CBWR": _INSTRUCTIONS,
    "MKL_DYNAMIC": _SWITCH,
    "MKL_ENABLE_INSTRUCTIONS": _INSTRUCTIONS,
    "MKL_NUM_THREADS": _COUNTS,
    "NUMEXPR_NUM_THREADS": _COUNTS,
    "NVIDIA_TF32_OVERRIDE": _SWITCH,
    "OMP_DYNAMIC": _SWITCH,
    "OMP_NUM_THREADS": _COUNTS,
    "ONEDNN_MAX_CPU_ISA": _INSTRUCTIONS,
    "OPENBLAS_CORETYPE": _INSTRUCTIONS,
    "OPENBLAS_NUM_THREADS": _COUNTS,
    "PYTHONHASHSEED": r"random|\d{1,10}",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": _SWITCH,
    "TORCH_BLAS_PREFER_CUBLASLT": _SWITCH,
    "TORCH_CUDNN_V8_API_DISABLED": _SWITCH,
    "TORCH_CUDNN_V8_API_LRU_CACHE_LIMIT": _COUNTS,
    "TORCH_DETERMINISTIC": _SWITCH,
    "TORCH_LINALG_PREFER_CUSOLVER": _SWITCH,
}
"""The variables that change numbers, and what their values look like. Another value is recorded as `UNUSUAL`."""
UNUSUAL = "(set, but not to a value that is recorded)"


def digest(value: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON of `value` (keys sorted, no spaces)."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def capture(
    *, device: str, code: Mapping[str, Any], data: Mapping[str, Any] | None, run: Mapping[str, Any]
) -> dict[str, Any]:
    """The environment of one attempt: the process's, plus its code, data and how it is run. Holds its own digest.

    `texts` holds what the code's digests stand for (the diff on top of the git commit), by SHA-256; it is no part of
    the digest, and is stored by itself.
    """
    base, base_digest = _base(device)
    code, texts = _without_texts(code)
    own: dict[str, Any] = {
        "code": code,
        "data": dict(data) if data else None,
        "run": dict(run),
        "variables": variables(os.environ),
    }
    found = {**base, **own, "digest": digest({"base": base_digest, **own})}
    return {**found, "texts": texts} if texts else found


def variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Those of the environment variables that change numbers."""
    return {
        name: environ[name] if re.fullmatch(pattern, environ[name]) else UNUSUAL
        for name, pattern in VARIABLES.items()
        if name in environ
    }


def _without_texts(code: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    git = code.get("git")
    if not git or "diff" not in git:
        return dict(code), {}
    kept = {name: value for name, value in git.items() if name != "diff"}
    texts = {git["diff_sha256"]: git["diff"]} if git["diff"] else {}
    return {**code, "git": kept}, texts


def _base(device: str) -> tuple[dict[str, Any], str]:
    """What stays the same, once everything that it tells of is loaded."""
    return _captured(device, tuple(name in sys.modules for name in ("numpy", "torch")))


@functools.cache
def _captured(device: str, loaded: tuple[bool, ...]) -> tuple[dict[str, Any], str]:
    base: dict[str, Any] = {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "hash_randomization": bool(sys.flags.hash_randomization),
        "os": platform.platform(),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "packages": packages(),
        "numpy": _numpy(),
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


def _numpy() -> dict[str, Any] | None:
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return None
    try:
        config = numpy.show_config(mode="dicts")
        blas = config["Build Dependencies"]["blas"]
        return {"blas": f"{blas.get('name')} {blas.get('version')}", "simd": config["SIMD Extensions"].get("found", [])}
    except (AttributeError, KeyError, TypeError):  # before numpy 1.25
        return None


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
        "cudnn_allow_tf32": torch.backends.cudnn.allow_tf32,
        "threads": torch.get_num_threads(),
    }


def products(device: str) -> str:
    """Whose matrix products a recipe's networks are trained with on this device."""
    from workers.loops import products  # lazy: recipes need torch, functions may not

    return products.said(device)


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
    """Commit, and what is changed under `directory` on top of it: the diff, new files that git does not ignore too, and
    its digest. None outside a git work tree (or without git)."""
    commit = _git(directory, "rev-parse", "HEAD")
    if commit is None:
        return None
    diff = (_git(directory, "diff", "HEAD", "--no-ext-diff", "--", ".") or b"") + _new_files(directory)
    return {
        "commit": commit.decode().strip(),
        "diff_sha256": hashlib.sha256(diff).hexdigest() if diff else None,
        "diff": diff[:DIFF_LIMIT_BYTES].decode("utf-8", "replace") or None,
    }


def _new_files(directory: Path) -> bytes:
    """Python files that git does not know yet, as a diff; at most `_UNTRACKED_FILES` of them."""
    listed = _git(directory, "ls-files", "--others", "--exclude-standard", "-z", "--", "*.py") or b""
    names = sorted(name for name in listed.decode("utf-8", "surrogateescape").split("\0") if name)
    pieces = []
    for name in names[:_UNTRACKED_FILES]:
        made = _git(directory, "diff", "--no-ext-diff", "--no-index", "--", "/dev/null", name, statuses=(0, 1))
        pieces.append(made or b"")
    return b"".join(pieces)


def _git(directory: Path, *arguments: str, statuses: tuple[int, ...] = (0,)) -> bytes | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(directory), *arguments],
            capture_output=True,
            check=False,
            timeout=_GIT_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode in statuses else None
