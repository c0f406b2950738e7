"""Bundles on real workers: unpacked by Ray, found before anything else that the process could see, one per process."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hpo_service import storage
from hpo_service.bundles.archive import Bundle
from hpo_service.bundles.building import from_files
from hpo_service.executors.ray import RayExecutor
from hpo_service.settings import Settings
from tests.conformance.executor_harness import Harness, Reader
from workers.contract import Ended, FailureKind, Launch, Outcome, Runtime, TrainerSpec, WorkOrder

pytestmark = pytest.mark.ray
TRAIN = b"""
import os, subprocess, sys
import workers
from search_spaces import LIMITS
import helpers.metrics as metrics
import random
from workers import own


def main(trial):
    assert os.path.exists("data/rows.csv"), os.getcwd()
    assert (own, workers.WHOSE, LIMITS, random.choose()) == ("mine", "mine", [1, 2], "mine")
    asks = [sys.executable, "-c", "import workers; print(workers.WHOSE)"]
    assert subprocess.run(asks, capture_output=True, text=True).stdout == "mine\\n"
    assert not any(path.endswith("conformance") for path in sys.path), sys.path
    state = trial.load_checkpoint()
    for step in range(1, 10):
        trial.report(step, loss=metrics.loss(open("data/rows.csv").read()))
        trial.save_checkpoint({"resumed": state is not None})
"""
FILES = {
    "train.py": TRAIN,
    "workers.py": b"WHOSE = own = 'mine'\ndef main(trial):\n    trial.report(1, loss=7.0)\n",
    "search_spaces/__init__.py": b"from search_spaces.limits import LIMITS\n",
    "search_spaces/limits.py": b"LIMITS = [1, 2]\n",
    "random.py": b"def choose():\n    return 'mine'\n",
    "helpers/metrics.py": b"def loss(text):\n    return float(len(text))\n",
    "data/rows.csv": b"1,2\n",
    "tuned.py": b"import workers\nfrom ray import tune\ndef train(config):\n"
    b"    tune.report({'loss': config['x'] + len(workers.own)})\n",
    "optimised.py": b"def objective(trial):\n    import workers\n"
    b"    return trial.suggest_float('x', 0, 1) + len(workers.own)\n",
    "broken.py": b"import helpers.metrics\n\n1 / 0\n",
}
BUNDLE = from_files(FILES)


@pytest.fixture(scope="module")
def harness(local_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    root = tmp_path_factory.mktemp("a storage")  # with a blank, which a URI spells otherwise
    executor = RayExecutor(Settings(), root)
    yield Harness(
        executor=executor, reader=Reader(executor), storage_root=str(root), kill_worker=print,
        next_trial=itertools.count(),
    )  # fmt: skip
    executor.close()


def kept(harness: Harness, bundle: Bundle) -> Runtime:
    path = storage.bundle_path(bundle.digest)
    storage.store(Path(harness.storage_root), path, io.BytesIO(bundle.archive))
    return Runtime(bundle=bundle.digest, bundle_path=path)


def order_of(harness: Harness, function: str, *, processes: int = 1) -> WorkOrder:
    trainer = TrainerSpec(function=function, bundle=BUNDLE.digest)
    return replace(harness.order(), trainer=trainer, params={}, processes=processes)


def trained(harness: Harness, order: WorkOrder, runtime: Runtime) -> Ended:
    harness.executor.launch(Launch(launch_id=str(order.key.trial), orders=(order,), runtime=runtime))
    harness.reader.all_ended(order)
    return harness.reader.ended[order.key]


def test_a_bundle_sees_its_own_modules_and_files_whatever_they_are_called(harness: Harness) -> None:
    order = order_of(harness, "train:main")
    ended = trained(harness, order, kept(harness, BUNDLE))
    assert ended.outcome is Outcome.REACHED, ended.traceback or ended.reason
    assert harness.reader.reports[order.key][0].metrics == {"loss": 4.0}
    code = harness.reader.started[order.key].environment["code"]
    assert code["bundle"] == BUNDLE.digest
    assert code["entry_point"] == "train:main"
    assert harness.reader.worker_of(order).detail["bundle"] == BUNDLE.digest


def test_every_process_of_a_trial_sees_the_bundle(harness: Harness) -> None:
    order = order_of(harness, "train:main", processes=2)
    ended = trained(harness, order, kept(harness, BUNDLE))
    assert ended.outcome is Outcome.REACHED, ended.traceback or ended.reason


@pytest.mark.parametrize(
    "trainer", [{"ray_tune": "tuned:train"}, {"optuna": "optimised:objective"}], ids=lambda given: next(iter(given))
)
def test_trainables_of_other_tools_come_in_bundles_too(harness: Harness, trainer: dict[str, str]) -> None:
    spec = TrainerSpec(**trainer, bundle=BUNDLE.digest)  # type: ignore[arg-type]  # both are texts
    order = replace(harness.order(), trainer=spec, params={"x": 0.5})
    ended = trained(harness, order, kept(harness, BUNDLE))
    assert ended.outcome is Outcome.COMPLETED, ended.traceback or ended.reason
    assert harness.reader.reports[order.key][-1].metrics["loss"] == 4.5


def test_the_entry_point_may_lie_in_a_module_that_is_called_like_ours(harness: Harness) -> None:
    order = order_of(harness, "workers:main")
    ended = trained(harness, order, kept(harness, BUNDLE))
    assert ended.outcome is Outcome.COMPLETED, ended.traceback or ended.reason
    assert harness.reader.reports[order.key][0].metrics == {"loss": 7.0}


def test_an_error_at_import_begins_in_the_users_own_file(harness: Harness) -> None:
    ended = trained(harness, order_of(harness, "broken:main"), kept(harness, BUNDLE))
    assert ended.failure is FailureKind.INVALID
    lines = [line for line in ended.traceback.splitlines() if line.strip().startswith("File")]
    assert "own-code/broken.py" in lines[0]
    assert "ZeroDivisionError" in ended.reason


def test_a_module_that_the_bundle_lacks_is_told_with_those_that_it_has(harness: Harness) -> None:
    ended = trained(harness, order_of(harness, "trian:main"), kept(harness, BUNDLE))
    assert ended.failure is FailureKind.INVALID
    assert "there is no module 'trian'" in ended.reason
    assert "broken, optimised, random, search_spaces, train, tuned, workers" in ended.reason


def test_each_process_serves_one_bundle(harness: Harness) -> None:
    other = from_files({"train.py": b"def main(trial):\n    trial.report(1, loss=-1.0)\n"})
    first, second = order_of(harness, "train:main"), order_of(harness, "train:main")
    assert trained(harness, first, kept(harness, BUNDLE)).outcome is Outcome.REACHED
    assert trained(harness, second, kept(harness, other)).outcome is Outcome.COMPLETED
    assert harness.reader.reports[second.key][0].metrics == {"loss": -1.0}
    assert harness.reader.started[first.key].worker_id != harness.reader.started[second.key].worker_id
    plain = harness.order()
    assert trained(harness, plain, Runtime()).failure is FailureKind.INVALID, "no bundle, no conformance module"


def test_a_folder_that_is_alone_in_its_bundle_keeps_its_name(harness: Harness) -> None:
    alone = from_files({"pkg/__init__.py": b"", "pkg/train.py": b"def main(trial):\n    trial.report(1, loss=0.5)\n"})
    ended = trained(harness, order_of(harness, "pkg.train:main"), kept(harness, alone))
    assert ended.outcome is Outcome.COMPLETED, ended.reason


@pytest.mark.parametrize(
    ("damage", "said"), [(b"no archive", "could not be unpacked"), (None, "No such file or directory")]
)
def test_a_bundle_that_cannot_be_unpacked_ends_the_launch_with_the_reason(
    harness: Harness, damage: bytes | None, said: str
) -> None:
    lost = from_files({"train.py": repr(damage).encode()})
    runtime = kept(harness, lost)
    path = Path(harness.storage_root) / runtime.bundle_path
    path.unlink()
    if damage is not None:
        path.write_bytes(damage)
    ended = trained(harness, order_of(harness, "train:main"), runtime)
    assert ended.failure is FailureKind.INVALID
    assert "could not be started: the bundle of code" in ended.reason
    assert said in ended.reason
    assert "HPO_STORAGE" in ended.reason
