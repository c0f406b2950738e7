"""What a trial changes in its worker's process is undone after it; what importing its module changed holds for every
trial that uses the module, not for the first alone.
"""

from __future__ import annotations

import os
import resource
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from workers import isolation
from workers.contract import AttemptKey, Message, Outcome, Reported, TrainerSpec, WorkOrder
from workers.session import run_order


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """A test that fails must not change the process for those behind it."""
    with isolation.isolated():
        yield


def train(path: str, storage: Path, *, number: int = 0) -> dict[str, float]:
    """The metrics of the one report of a trial."""
    messages: list[Message] = []
    order = WorkOrder(
        key=AttemptKey(study_id="s", trial=number, fence=1),
        trainer=TrainerSpec(function=path),
        params={},
        seed=number,
        metric="loss",
        metrics=("loss",),
        from_resource=0.0,
        target_resource=1.0,
        horizon=1.0,
        storage_root=str(storage),
    )
    ended = run_order(order, messages.append, lambda: None)
    assert ended.outcome is Outcome.REACHED, ended.reason
    return dict(next(m for m in messages if isinstance(m, Reported)).metrics)


def test_what_a_module_sets_up_holds_for_every_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = """
        import os
        import numpy as np
        import torch

        torch.set_default_dtype(torch.float64)
        torch.set_float32_matmul_precision("high")
        np.seterr(over="raise")
        os.environ["SET_BY_MODULE"] = "1"
        os.environ.pop("TAKEN_BY_MODULE", None)

        def train(trial):
            trial.report(
                1,
                loss=float(torch.ones(3).double().sum() / 7 - torch.ones(3).sum() / 7),
                bytes=torch.ones(1).element_size(),
                high=torch.get_float32_matmul_precision() == "high",
                raises=np.geterr()["over"] == "raise",
                set=os.environ.get("SET_BY_MODULE") == "1",
                taken="TAKEN_BY_MODULE" not in os.environ,
            )

        def again(trial):
            train(trial)
    """
    (tmp_path / "sets_up.py").write_text(textwrap.dedent(source))
    (tmp_path / "plain_one.py").write_text(
        "import torch\ndef train(trial): trial.report(1, loss=torch.ones(1).element_size())\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("TAKEN_BY_MODULE", "1")
    first = train("sets_up:train", tmp_path)
    assert first == {"loss": 0.0, "bytes": 8, "high": 1, "raises": 1, "set": 1, "taken": 1}
    assert train("plain_one:train", tmp_path)["loss"] == 4  # another module's trial sees nothing of it
    assert train("sets_up:train", tmp_path, number=1) == first
    assert train("sets_up:again", tmp_path, number=2) == first
    assert os.environ["TAKEN_BY_MODULE"] == "1"
    assert "SET_BY_MODULE" not in os.environ


def test_a_changed_module_is_set_up_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def written(dtype: str) -> None:
        (tmp_path / "set_up_anew.py").write_text(
            f"import torch\ntorch.set_default_dtype(torch.{dtype})\n"
            f"def train(trial): trial.report(1, loss=torch.ones(1).element_size())  # {dtype}\n"
        )

    monkeypatch.syspath_prepend(str(tmp_path))
    written("float64")
    assert [train("set_up_anew:train", tmp_path)["loss"] for _ in range(2)] == [8, 8]
    written("bfloat16")
    assert [train("set_up_anew:train", tmp_path)["loss"] for _ in range(2)] == [2, 2]


CHANGES: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "precision": (torch.get_float32_matmul_precision, lambda: torch.set_float32_matmul_precision("medium")),
    "device": (lambda: torch.empty(0).device.type, lambda: torch.set_default_device("meta")),
    "dtype": (torch.get_default_dtype, lambda: torch.set_default_dtype(torch.float64)),
    "warnings alone": (
        torch.is_deterministic_algorithms_warn_only_enabled,
        lambda: torch.use_deterministic_algorithms(True, warn_only=True),
    ),
    "cudnn": (lambda: torch.backends.cudnn.enabled, lambda: setattr(torch.backends.cudnn, "enabled", False)),
    "numpy": (np.geterr, lambda: np.seterr(all="raise")),
    "variables": (lambda: os.environ.get("SOMETHING"), lambda: os.environ.__setitem__("SOMETHING", "1")),
    "folder": (os.getcwd, lambda: os.chdir("/")),
    "files": (
        lambda: resource.getrlimit(resource.RLIMIT_NOFILE),
        lambda: resource.setrlimit(
            resource.RLIMIT_NOFILE,
            (
                resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 1,
                resource.getrlimit(resource.RLIMIT_NOFILE)[1],
            ),
        ),
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_a_trial_changed_is_put_back(what: str) -> None:
    read, change = CHANGES[what]
    before = read()
    with isolation.isolated():
        change()
        assert read() != before
    assert read() == before


def test_precisions_of_the_newer_interface_are_put_back() -> None:
    """Torch refuses to read the older one then."""
    before = torch.get_float32_matmul_precision()
    with isolation.isolated():
        torch.backends.cuda.matmul.fp32_precision = "tf32"
        with pytest.raises(RuntimeError):
            torch.get_float32_matmul_precision()
    assert torch.get_float32_matmul_precision() == before
