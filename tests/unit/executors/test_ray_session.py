"""What surrounds the connection to Ray: token, folders, capacity, the words for losses. Nothing here starts Ray."""

from __future__ import annotations

import os
import pickle
import pickletools
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from hpo_service.executors import ray_losses
from hpo_service.executors.base import Capacity
from hpo_service.executors.ray_actor import by_value
from hpo_service.executors.ray_flights import Shape
from hpo_service.executors.ray_session import (
    Node,
    capacity_of,
    prepare_token,
    remove_dead_sessions,
    require_main_thread,
    temp_dir,
)
from hpo_service.executors.ray_workers import PooledWorker, runtime_env
from workers.contract import NO_RUNTIME, Runtime

TOKEN_NAMES = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


@pytest.fixture
def no_token(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in TOKEN_NAMES:
        monkeypatch.setenv(name, "")  # so that it is put back whatever the test writes
        monkeypatch.delenv(name)
    return monkeypatch


def test_a_local_cluster_gets_a_token_of_its_own(no_token: pytest.MonkeyPatch) -> None:
    prepare_token(local=True)
    token = os.environ["RAY_AUTH_TOKEN"]
    assert len(token) == 64
    prepare_token(local=True)
    assert os.environ["RAY_AUTH_TOKEN"] == token


def test_what_the_operator_set_stays(no_token: pytest.MonkeyPatch) -> None:
    no_token.setenv("RAY_AUTH_TOKEN_PATH", "/somewhere/token")
    prepare_token(local=True)
    assert "RAY_AUTH_TOKEN" not in os.environ
    no_token.delenv("RAY_AUTH_TOKEN_PATH")
    no_token.setenv("RAY_AUTH_TOKEN", "mine")
    prepare_token(local=True)
    assert os.environ["RAY_AUTH_TOKEN"] == "mine"


def test_joining_a_cluster_takes_its_token_from_the_environment_only(no_token: pytest.MonkeyPatch) -> None:
    prepare_token(local=False)
    assert not any(name in os.environ for name in TOKEN_NAMES)


def test_a_session_folder_is_short_and_dead_ones_are_removed(tmp_path: Path) -> None:
    assert len(str(temp_dir())) <= 40
    dead, alive = tmp_path / "session_2026-01-01_00-00-00_1_4194999", tmp_path / f"session_x_{os.getpid()}"
    for folder in (dead, alive):
        (folder / "logs").mkdir(parents=True)
    (tmp_path / "session_latest").symlink_to(alive)
    remove_dead_sessions(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["session_latest", alive.name])


def test_capacity_is_summed_over_nodes_and_says_what_never_fits() -> None:
    nodes = [Node(node_id=n, name=n, cpu=cpu, gpu=gpu) for n, cpu, gpu in (("a", 8, 0), ("b", 4, 2))]
    capacity = capacity_of(nodes)
    assert capacity == Capacity(cpu=12, gpu=2, node_cpu=8, node_gpu=2)
    assert capacity.refusal(8, 0) is None
    assert "largest node has 8" in (capacity.refusal(9, 0) or "")
    assert "resources.gpu must fit" in (capacity.refusal(1, 4) or "")
    assert "no GPU" in (capacity_of(nodes[:1]).refusal(1, 0.5) or "")
    assert capacity_of([]).refusal(1, 0) is not None


def test_any_other_thread_is_refused() -> None:
    raised: list[BaseException] = []

    def other() -> None:
        try:
            require_main_thread()
        except RuntimeError as error:
            raised.append(error)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert "main thread" in str(raised[0])
    require_main_thread()


class _Remote:
    def warm(self) -> None: ...


def test_losses_are_told_in_words() -> None:
    node = Node(node_id="n", name="host-7", cpu=2, gpu=0)
    worker = PooledWorker(Shape(1.0, 0.0), node, lambda *_: _Remote(), now=0.0)  # type: ignore[arg-type,return-value]
    worker.ready({"device": "cpu", "pid": 4242}, 1.0)
    died = RuntimeError("The actor died.\nWorker exit detail: a connection error code 2. End of file. Some causes")
    text = ray_losses.reason(worker, died)
    assert "host-7, process 4242" in text
    assert "died without a word" in text
    assert "stream ended" in ray_losses.reason(worker, None)
    coloured = RuntimeError("creation failed\n\x1b[36mModuleNotFoundError: No module named 'torch'\x1b[39m")
    assert ray_losses.start_reason(coloured).startswith("ModuleNotFoundError: No module named 'torch'; install")
    assert len(ray_losses.start_reason(RuntimeError("x" * 9000))) <= 400


def test_what_could_not_be_prepared_is_told_with_its_remedy() -> None:
    errors = pytest.importorskip("ray.exceptions")
    bundle = Runtime(bundle="c0de" * 16, bundle_path="bundles/c0.zip")
    broken = errors.RuntimeEnvSetupError("  File working_dir.py, line 1\nzipfile.BadZipFile: File is not a zip file\n")
    text = ray_losses.start_reason(broken, bundle)
    assert text.startswith("the bundle of code c0dec0dec0de could not be unpacked (zipfile.BadZipFile: File is not")
    assert "HPO_STORAGE" in text
    failed = errors.RuntimeEnvSetupError("ERROR: No matching distribution found for nosuch\nexit code 1")
    text = ray_losses.start_reason(failed, Runtime(pip=("nosuch", "timm")))
    assert text == (
        "pip could not install nosuch, timm for the study (No matching distribution found for nosuch); "
        "correct trainer.pip"
    )
    assert "could not be unpacked" in ray_losses.start_reason(broken, replace(bundle, pip=("timm",)))


def test_a_process_is_made_with_its_bundle_and_packages(tmp_path: Path) -> None:
    assert runtime_env(NO_RUNTIME, tmp_path) == {}
    odd = tmp_path / "a b"
    made = runtime_env(Runtime(bundle="c0" * 32, bundle_path="bundles/c0/x.zip", pip=("timm==1",)), odd)
    assert made["working_dir"] == f"file://{tmp_path}/a%20b/bundles/c0/x.zip"
    assert made["pip"]["packages"] == ["timm==1"]


def test_out_of_memory_is_the_attempts_own_failure() -> None:
    errors = pytest.importorskip("ray.exceptions")
    assert (ray_losses.out_of_memory(errors.OutOfMemoryError("low")) or "").startswith("out_of_memory")
    assert ray_losses.out_of_memory(errors.RayActorError()) is None


def test_the_actor_class_travels_by_value_and_needs_nothing_of_ours_to_unpickle() -> None:
    cloudpickle = pytest.importorskip("ray.cloudpickle")
    code = cloudpickle.dumps(by_value()[0])
    names = {text for op, text, _ in pickletools.genops(code) if "GLOBAL" in op.name}
    assert not any(str(name).startswith(("workers", "hpo_service")) for name in names)
    assert pickle.loads(code).__name__ == "TrialWorker"
