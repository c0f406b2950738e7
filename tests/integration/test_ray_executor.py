"""What is particular to the executor on Ray; the general guarantees are in the conformance suite."""

from __future__ import annotations

import itertools
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hpo_service.errors import Unavailable
from hpo_service.executors.base import Need
from hpo_service.executors.ray import RayExecutor
from hpo_service.settings import Settings
from tests.conformance.executor_harness import STUDY, Harness, Reader
from workers.contract import CancelMode, FailureKind, Outcome

pytestmark = pytest.mark.ray
ROOT = Path(__file__).resolve().parents[2]
TRAINABLES = str(ROOT / "tests" / "conformance")


@pytest.fixture(scope="module")
def parts(local_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    storage = tmp_path_factory.mktemp("storage")
    executor = RayExecutor(Settings(idle_workers_s=3.0), storage, code_paths=[TRAINABLES])
    yield Harness(
        executor=executor,
        reader=Reader(executor),
        storage_root=str(storage),
        kill_worker=lambda seen: os.kill(seen.detail["pid"], signal.SIGKILL),
        next_trial=itertools.count(),
    )
    executor.close()


@pytest.fixture
def harness(parts: Harness) -> Harness:
    parts.reader = Reader(parts.executor, workers=parts.reader.workers)
    return parts


def trained_worker(harness: Harness) -> str:
    order = harness.order()
    harness.launch(order)
    harness.reader.all_ended(order)
    assert harness.reader.ended[order.key].outcome is Outcome.REACHED
    return harness.reader.started[order.key].worker_id


def test_a_worker_stays_warm_between_launches(harness: Harness) -> None:
    assert trained_worker(harness) == trained_worker(harness)


def test_an_idle_workers_death_is_noticed_and_costs_nothing(harness: Harness) -> None:
    worker_id = trained_worker(harness)
    harness.reader.until(lambda: harness.reader.workers[worker_id].state == "idle")
    harness.kill_worker(harness.reader.workers[worker_id])
    harness.reader.until(lambda: harness.reader.workers[worker_id].state == "gone")
    assert trained_worker(harness) != worker_id


def test_idle_workers_are_let_go(harness: Harness) -> None:
    worker_id = trained_worker(harness)
    pid = harness.reader.workers[worker_id].detail["pid"]
    ends = os.pidfd_open(pid)
    harness.reader.until(lambda: harness.reader.workers[worker_id].state == "gone", limit_s=20)
    assert select.select([ends], [], [], 10.0)[0], "the process must end too"
    os.close(ends)
    assert harness.executor.free_workers(Need(study_id=STUDY, cpu=1.0, gpu=0.0)) == 2


def test_small_shares_of_a_cpu_run_side_by_side(harness: Harness) -> None:
    orders = [harness.order("slow", target=100_000) for _ in range(3)]
    for order in orders:
        harness.launch(order, cpu=0.5)
    harness.running(*orders)
    assert len({harness.reader.started[order.key].worker_id for order in orders}) == 3
    for order in orders:
        harness.executor.cancel(order.key, CancelMode.STOP)
    harness.reader.all_ended(*orders)


def test_a_function_that_cannot_be_imported_fails_its_attempt_only(harness: Harness) -> None:
    bad = harness.order()
    bad = replace(bad, trainer=replace(bad.trainer, function="no_such_module:train"))
    good = harness.order()
    harness.launch(bad, good)
    harness.reader.all_ended(bad, good)
    assert harness.reader.ended[bad.key].failure is FailureKind.INVALID
    assert harness.reader.ended[good.key].outcome is Outcome.REACHED


def test_it_must_be_made_on_the_main_thread(local_ray: None, tmp_path: Path) -> None:
    raised: list[RuntimeError] = []

    def make() -> None:
        try:
            RayExecutor(Settings(), tmp_path)
        except RuntimeError as error:
            raised.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    assert "main thread" in str(raised[0])


def test_closing_leaves_a_ray_that_is_not_its_own(local_ray: None, tmp_path: Path) -> None:
    import ray

    executor = RayExecutor(Settings(), tmp_path)
    executor.close()
    executor.close()
    assert executor.poll(0.0) == []
    assert ray.is_initialized()


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start_driver(tmp_path: Path) -> Iterator[Start]:
    """Starts a controller in a folder where the user has files named like our packages."""
    for name in ("workers", "search_spaces"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('the wrong module was imported')\n")
    (tmp_path / "mine.py").write_text(
        "import threading\n"
        "def train(trial):\n"
        "    trial.report(1, loss=1.0)\n"
        "    if trial.params['hang']:\n"
        "        threading.Event().wait()\n"
        "    trial.report(2, loss=0.5)\n"
    )
    run = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tests.integration.ray_driver import main; main()"
    begun: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **ray_variables: str) -> subprocess.Popen[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", run, *arguments], cwd=tmp_path, env=kept | ray_variables, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        begun.append(process)
        return process

    yield start
    for process in begun:
        process.kill()
        process.communicate(timeout=30)


def read_facts(process: subprocess.Popen[str]) -> dict[str, object]:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate()[1]
    facts: dict[str, object] = json.loads(line)
    return facts


def test_a_controller_has_its_own_ray_and_its_workers_die_with_it(start_driver: Start) -> None:
    driver = start_driver()
    facts = read_facts(driver)
    assert facts["outcome"] == "reached", facts["reason"]
    assert facts["auth"] == ["token", 64]
    pid = facts["worker_pid"]
    assert isinstance(pid, int)
    ends = os.pidfd_open(pid)
    driver.kill()
    assert select.select([ends], [], [], 30.0)[0], "an orphan of a killed controller goes on training"
    os.close(ends)


def test_a_cluster_is_joined_with_its_token_and_left_up(local_ray: None, start_driver: Start) -> None:
    import ray

    address = ray.get_runtime_context().gcs_address
    token = {name: os.environ[name] for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")}
    driver = start_driver(address, **token)
    facts = read_facts(driver)
    assert facts["outcome"] == "reached", facts["reason"]
    _, errors = driver.communicate("", timeout=60)
    assert driver.returncode == 0, errors
    assert ray.cluster_resources()["CPU"] == 2
    hurried = {"RAY_AUTH_TOKEN": "0" * 64, "RAY_NUM_REDIS_GET_RETRIES": "1"}  # else Ray asks again for twenty seconds
    stranger = start_driver(address, **token | hurried)
    _, errors = stranger.communicate("", timeout=60)
    assert Unavailable.__name__ in errors
    assert "RAY_AUTH_TOKEN" in errors


def test_a_cluster_that_cannot_be_joined_is_named(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from hpo_service.executors.ray import RayExecutor; "
        "from hpo_service.settings import Settings; "
        "RayExecutor(Settings(ray_address='127.0.0.1:1'), Path('.'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert Unavailable.__name__ in done.stderr
    assert "HPO_RAY_ADDRESS" in done.stderr
    assert "127.0.0.1:1" in done.stderr
