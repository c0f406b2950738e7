"""Secrets in environment variables are stored nowhere: not with attempts, not in records, not in what is compared,
whatever the variables are called and wherever the process prints, saves or fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_service.store import logs, records, reproductions
from hpo_service.store.database import open_database
from hpo_service.store.rows import CheckpointItem, SavedItem, StartedItem
from tests.storelib import World
from workers import environment
from workers.contract import (
    AttemptKey,
    Ended,
    Logged,
    Message,
    Reported,
    Reproduced,
    Saved,
    Started,
    TrainerSpec,
    WorkOrder,
)
from workers.reproduction import Reproduction
from workers.session import Attempt

SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "planted-aws-7d1f",
    "HPO_TOKEN": "planted-hpo-81aa",
    "DATABASE_URL": "postgresql://u:planted-database-19c2@h/d",
    "CUDA_API_TOKEN": "planted-cuda-0c33",
    "TORCH_HUB_PASSWORD": "planted-torch-55e8",
    "MKL_LICENSE_KEY": "planted-mkl-a4b0",
    "OMP_SECRET": "planted-omp-77d9",
    "OMP_NUM_THREADS": "planted-threads-6e21",
    "CUBLAS_WORKSPACE_CONFIG": "planted-cublas-f00d",
    "PYTHONHASHSEED": "planted-hash-3b9a",
    "MKL_CBWR": "planted-cbwr-b2c4",
    "CUDA_LAUNCH_BLOCKING": "planted-blocking-90ef",
}
CODE = """
def train(trial):
    for epoch in range(1, 4):
        print("epoch", epoch)
        trial.report(epoch, loss=1.0 / epoch)
        trial.save_checkpoint({"epoch": epoch})
    raise RuntimeError("as it happens")
"""


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MKL_NUM_THREADS", "3")


def store(world: World, message: Message) -> None:
    """What the collector does with a message."""
    assert not isinstance(message, Reproduced)
    key: dict[str, Any] = {"study_id": world.id, "trial": 0, "fence": 1}
    if isinstance(message, Started):
        world.collect(
            StartedItem(
                **key, worker_id=message.worker_id, node=message.node, device=message.device,
                resumed_from=message.resumed_from, environment=message.environment,
            )
        )  # fmt: skip
    elif isinstance(message, Reported):
        world.collect(world.report(0, message.step, message.metrics["loss"]))
    elif isinstance(message, Saved):
        ref = message.checkpoint
        item = CheckpointItem(
            path=ref.path, digest=ref.digest, step=ref.step, resource=ref.resource, size_bytes=ref.size_bytes
        )
        world.collect(SavedItem(**key, checkpoint=item))
    elif isinstance(message, Logged):
        logs.append_logs(world.db, [(world.id, 0, 1, message.text)])
    elif isinstance(message, Ended):
        failure = message.failure.value if message.failure else None
        told: dict[str, Any] = {"failure": failure, "reason": message.reason, "traceback": message.traceback}
        world.collect(world.ended(0, message.outcome.value, resource=message.resource, **told))


def test_no_secret_reaches_the_database_or_the_storage(
    planted: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "no_secrets_code.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    kept = tmp_path / "kept"
    kept.mkdir()
    db = open_database(f"sqlite:///{kept / 'hpo.db'}")
    world = World(db, trainer={"function": "no_secrets_code:train"})
    world.start(1)
    order = WorkOrder(
        key=AttemptKey(study_id=world.id, trial=0, fence=1), trainer=TrainerSpec(function="no_secrets_code:train"),
        params={"lr": 0.1}, seed=1, metric="loss", metrics=("loss",), from_resource=0, target_resource=9, horizon=9,
        storage_root=str(kept / "storage"),
    )  # fmt: skip
    ended = Attempt(order, lambda message: store(world, message), lambda: None).run()
    store(world, ended)
    told = records.trial_record(db, world.id, 0)
    messages: list[Message] = []
    again = WorkOrder(**{**vars(order), "reproduce": told})
    Reproduction(again, messages.append, lambda: None).run()
    (answer,) = [m.document for m in messages if isinstance(m, Reproduced)]
    row = reproductions.ask(db, world.id, 0, asked_by="ada")
    reproductions.take(db, "c1", lease_s=60, most=1)
    reproductions.end(db, "c1", row.id, document=answer)
    db.close()

    (recorded,) = told["environments"].values()
    assert recorded["variables"]["MKL_NUM_THREADS"] == "3", "what changes numbers is kept"
    assert recorded["variables"]["OMP_NUM_THREADS"] == environment.UNUSUAL, "and that it was set"
    assert answer["comparison"]["reports"] == 3
    (kept / "record.json").write_text(json.dumps(told))
    files = [path for path in kept.rglob("*") if path.is_file()]
    assert any(path.suffix == ".pt" for path in files)
    for path in files:
        data = path.read_bytes()
        assert b"planted" not in data, path
        for name, value in SECRETS.items():
            assert value.encode() not in data, (path, name)
    assert any(b"no_secrets_code" in path.read_bytes() for path in files), "the files were really searched"


@given(st.sampled_from(sorted(environment.VARIABLES)), st.from_regex(r"[A-Za-z0-9+/]{24,64}", fullmatch=True))
def test_a_value_that_looks_like_a_key_is_never_kept(name: str, value: str) -> None:
    assert environment.variables({name: value}) == {name: environment.UNUSUAL}


@given(st.dictionaries(st.text(min_size=1), st.text()))
def test_other_variables_are_not_looked_at(environ: dict[str, str]) -> None:
    assert set(environment.variables(environ)) <= set(environment.VARIABLES)


def test_usual_values_are_kept() -> None:
    usual = {
        "CUDA_VISIBLE_DEVICES": "0,1", "CUBLAS_WORKSPACE_CONFIG": ":4096:8", "OMP_NUM_THREADS": "4",
        "MKL_CBWR": "AVX2,STRICT", "PYTHONHASHSEED": "random", "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1",
    }  # fmt: skip
    assert environment.variables(usual) == usual
