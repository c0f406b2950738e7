"""How many workers share a GPU where trials train one by one: chosen from what the first of them took, and taken back
where that was too much. Pure: numbers in, a decision with its reason out. `controller.gpu_sharing` acts on it.

A share is a fraction of `resources.gpu`. It changes who runs beside whom, never what a trial computes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hpo_service.core.definition import Resources

FEWEST = 3
"""Attempts that must have ended before anything is chosen."""
MOST = 8
MEMORY = 0.9
"""The part of a GPU's memory that its workers may fill together."""
OVERHEAD_BYTES = 1 << 30
"""What a worker takes beside its tensors: the CUDA context, libraries' workspaces, what the allocator keeps."""
_PLACES = 10_000
"""Ray counts resources in ten-thousandths, and rounds: a share is rounded down, so that all of them fit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Use:
    """What one attempt took of its GPU: its peak and the GPU's memory in bytes, and the GPU's mean utilisation, 0 … 1
    (None: not known)."""

    peak_bytes: int
    memory_bytes: int
    utilisation: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """So many workers for each GPU from now on, and why."""

    workers: int
    reason: str

    @property
    def gpu(self) -> float:
        """The fraction of a GPU that each of them asks for."""
        return fraction(self.workers)


def fraction(workers: int) -> float:
    """The largest fraction of a GPU that Ray can give to each of so many workers."""
    return 1.0 if workers <= 1 else _PLACES // workers / _PLACES


def workers_on(gpu: float) -> int:
    """How many workers of this fraction share a GPU; 1 for whole ones."""
    return max(1, int(1.0 / gpu + 1e-9)) if 0 < gpu < 1 else 1


def applies(resources: Resources) -> bool:
    """Whether the service chooses how many workers of this shape share a GPU: exactly one GPU, or a part of one, and
    one process."""
    return resources.share == "auto" and 0 < resources.gpu <= 1 and resources.processes == 1


def is_shared(resources: Resources) -> bool:
    """Whether workers share a GPU by the service's choice, so that running out of memory is no trial's fault."""
    return applies(resources) and resources.gpu < 1


def room(cpu: float, parallel: int, *, cpus: float, gpus: float) -> int:
    """How many workers a GPU can have for all that the cluster's CPUs hold and the study opens at the same time."""
    if gpus <= 0:
        return 1
    by_cpu = cpus / gpus / cpu if cpu > 0 else float(MOST)
    return max(1, min(MOST, math.floor(by_cpu + 1e-9), math.ceil(parallel / gpus)))


def chosen(uses: Sequence[Use], *, most: int = MOST) -> Share | None:
    """How many workers share a GPU, by attempts that had one to themselves; None where it is too early to say, or one
    worker is enough.

    As many as memory holds, and no more than keep the GPU busy: min(⌊0.9 · memory / (peak + 1 GiB)⌋, ⌊1 / utilisation⌋,
    8, `most`), with the highest peak and the mean utilisation.
    """
    known = [use.utilisation for use in uses if use.utilisation is not None]
    if len(known) < FEWEST or len(known) < len(uses):
        return None
    mean = math.fsum(known) / len(known)
    busy = math.floor(1.0 / mean + 1e-9) if mean > 1.0 / MOST else MOST
    workers = min(_held(uses), busy, MOST, most)
    if workers < 2:
        return None
    return Share(workers=workers, reason=f"sharing: {workers} workers per GPU, {_peak(uses)}, utilisation {mean:.2f}")


def narrowed(workers: int, uses: Sequence[Use]) -> Share | None:
    """Fewer workers, where attempts came to take more memory than `workers` of them have room for; None otherwise."""
    held = max(1, _held(uses)) if uses else workers
    if held >= workers:
        return None
    return Share(workers=held, reason=f"sharing: {_per_gpu(held)} instead of {workers}, {_peak(uses)}")


def halved(workers: int) -> Share:
    """Half as many workers, after one of them ran out of memory."""
    left = max(1, workers // 2)
    return Share(
        workers=left, reason=f"sharing: {_per_gpu(left)} instead of {workers}, for a trial ran out of GPU memory"
    )


def shared(resources: Resources, share: Share) -> Resources:
    """The resources with this share. Back at one worker for each GPU nothing is shared any more: what took it back
    would do so again."""
    kept = "auto" if share.workers > 1 else "off"
    return resources.model_copy(update={"gpu": share.gpu, "share": kept})


def _held(uses: Sequence[Use]) -> int:
    """How many of the largest of these attempts a GPU's memory holds; at most `MOST`."""
    memory = min(use.memory_bytes for use in uses)
    return min(MOST, math.floor(MEMORY * memory / (max(use.peak_bytes for use in uses) + OVERHEAD_BYTES)))


def _peak(uses: Sequence[Use]) -> str:
    peak, memory = max(use.peak_bytes for use in uses), min(use.memory_bytes for use in uses)
    return f"peak {peak / 1e9:.1f} GB of {memory / 1e9:.0f}"


def _per_gpu(workers: int) -> str:
    return "1 worker per GPU" if workers == 1 else f"{workers} workers per GPU"
