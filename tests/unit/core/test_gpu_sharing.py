"""How many workers share a GPU: never more than memory holds or than it takes to keep the GPU busy, and only ever
fewer afterwards."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_service.core import gpu_sharing
from hpo_service.core.definition import Resources, parse
from hpo_service.core.gpu_sharing import FEWEST, MEMORY, MOST, OVERHEAD_BYTES, Use

GB = 10**9
USES = st.lists(
    st.builds(
        Use,
        peak_bytes=st.integers(1, 100 * GB),
        memory_bytes=st.sampled_from([8 * GB, 24 * GB, 80 * GB]),
        utilisation=st.none() | st.floats(0, 1),
    ),
    max_size=12,
)


def use(peak_gb: float, utilisation: float | None = 0.1, memory_gb: float = 80) -> Use:
    return Use(peak_bytes=int(peak_gb * GB), memory_bytes=int(memory_gb * GB), utilisation=utilisation)


@given(USES, st.integers(1, 10))
def test_what_is_chosen_fits_in_memory_and_leaves_nobody_waiting(uses: list[Use], most: int) -> None:
    share = gpu_sharing.chosen(uses, most=most)
    if share is None:
        return
    assert len(uses) >= FEWEST
    assert 2 <= share.workers <= min(MOST, most)
    peak, memory = max(u.peak_bytes for u in uses), min(u.memory_bytes for u in uses)
    assert share.workers * (peak + OVERHEAD_BYTES) <= MEMORY * memory
    busy = [u.utilisation for u in uses if u.utilisation is not None]
    assert share.workers * sum(busy) / len(busy) <= 1 + 1e-6
    assert share.workers * share.gpu <= 1
    assert gpu_sharing.narrowed(share.workers, uses) is None, "what was chosen is not taken back for the same reasons"


@given(USES, USES)
def test_more_that_was_measured_never_makes_more_of_it(uses: list[Use], later: list[Use]) -> None:
    workers = MOST
    for seen in (uses, [*uses, *later]):
        share = gpu_sharing.narrowed(workers, seen)
        if share is not None:
            assert 1 <= share.workers < workers
            workers = share.workers


@given(st.integers(1, MOST))
def test_a_fraction_tells_how_many_share(workers: int) -> None:
    gpu = gpu_sharing.fraction(workers)
    assert gpu_sharing.workers_on(gpu) == workers
    assert round(gpu, 4) == gpu, "Ray counts in ten-thousandths"
    assert workers * gpu <= 1


@given(st.integers(2, MOST))
def test_halving_ends_with_a_gpu_of_its_own_and_nothing_shared_again(workers: int) -> None:
    resources = Resources(gpu=gpu_sharing.fraction(workers), share="auto")
    for _ in range(4):
        if not gpu_sharing.applies(resources):
            break
        resources = gpu_sharing.shared(resources, gpu_sharing.halved(gpu_sharing.workers_on(resources.gpu)))
    assert (resources.gpu, resources.share) == (1.0, "off")


def test_the_reason_tells_the_measured_numbers() -> None:
    share = gpu_sharing.chosen([use(11.2, 0.28), use(9, 0.28), use(10, 0.28)])
    assert share is not None
    assert share.reason == "sharing: 3 workers per GPU, peak 11.2 GB of 80, utilisation 0.28"
    fewer = gpu_sharing.narrowed(3, [use(40)])
    assert fewer is not None
    assert fewer.reason == "sharing: 1 worker per GPU instead of 3, peak 40.0 GB of 80"


@pytest.mark.parametrize(
    ("uses", "why"),
    [
        ([use(1)] * (FEWEST - 1), "too few"),
        ([use(1), use(1), use(1), use(1, None)], "one of them could not be measured"),
        ([use(1), use(1), use(50)], "the largest one fills more than half"),
        ([use(1, 0.6)] * 3, "the GPU is busy"),
    ],
)
def test_one_worker_is_enough(uses: list[Use], why: str) -> None:
    assert gpu_sharing.chosen(uses) is None, why


@pytest.mark.parametrize(
    ("cpu", "parallel", "cpus", "gpus", "workers"),
    [(1, 256, 16, 2, 8), (4, 256, 16, 2, 2), (1, 4, 64, 4, 1), (1, 6, 64, 4, 2), (0, 256, 0, 1, 8), (1, 9, 9, 0, 1)],
)
def test_no_more_than_cpus_and_parallel_have_use_for(
    cpu: float, parallel: int, cpus: float, gpus: float, workers: int
) -> None:
    assert gpu_sharing.room(cpu, parallel, cpus=cpus, gpus=gpus) == workers


@pytest.mark.parametrize(
    ("resources", "applies", "is_shared"),
    [
        ({"gpu": 1, "share": "auto"}, True, False),
        ({"gpu": 0.3333, "share": "auto"}, True, True),
        ({"gpu": 0.5, "share": "off"}, False, False),
        ({"gpu": 2, "share": "auto"}, False, False),
        ({"gpu": 0, "share": "auto"}, False, False),
    ],
)
def test_only_one_gpu_or_a_part_of_it_is_shared(resources: dict[str, object], applies: bool, is_shared: bool) -> None:
    made = Resources.model_validate(resources)
    assert gpu_sharing.applies(made) is applies
    assert gpu_sharing.is_shared(made) is is_shared


@pytest.mark.parametrize(
    ("trainer", "resources", "share"),
    [
        ({"recipe": "image_classifier", "params": {"data": "digits"}}, {"gpu": 1}, "auto"),
        ({"recipe": "image_classifier", "params": {"data": "digits"}}, {"gpu": 1, "share": "off"}, "off"),
        ({"recipe": "image_classifier", "params": {"data": "digits"}}, {"gpu": 0}, "off"),
        ({"recipe": "image_classifier", "params": {"data": "digits"}}, {"gpu": 0.5}, "off"),
        ({"function": "mine:train"}, {"gpu": 1}, "off"),
        ({"function": "mine:train"}, {"gpu": 1, "share": "auto"}, "auto"),
    ],
)
def test_recipes_share_by_themselves_and_code_of_ones_own_where_asked(
    trainer: dict[str, object], resources: dict[str, object], share: str
) -> None:
    made = parse(
        {
            "objective": {"metric": "val_loss"},
            "space": {"lr": {"type": "loguniform", "low": 1e-5, "high": 0.1}},
            "algorithm": {"name": "random", "max_resource": 3},
            "trainer": trainer,
            "budget": {"trials": 3},
            "resources": resources,
        }
    )
    assert made.resources.share == share
    assert parse(made.to_document()) == made
