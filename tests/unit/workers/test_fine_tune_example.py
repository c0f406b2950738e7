"""`examples/fine_tune.py`, run with a stand-in of ours for torchvision and timm, which this project's environment does
not have: small models with "pre-trained" weights, images as tensors in class folders. Nothing is downloaded.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from hpo_service.core.definition import parse
from workers.contract import AttemptKey, Ended, Outcome, Reported, TrainerSpec, WorkOrder
from workers.session import run_order

EXAMPLES = Path(__file__).parents[3] / "examples"
MADE_UP = ("torchvision", "timm", "fine_tune")

TORCHVISION = """
import torch
from pathlib import Path
from torch import nn
from types import SimpleNamespace


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(7)
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.layer1 = nn.Sequential(nn.Conv2d(4, 8, 3), nn.ReLU())
        self.layer2 = nn.Sequential(nn.Conv2d(8, 8, 3), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8, 1000)

    def forward(self, x):
        return self.fc(self.pool(self.layer2(self.layer1(self.stem(x)))).flatten(1))


class Weights:
    DEFAULT = SimpleNamespace(transforms=lambda: lambda image: (image - 0.5) / 0.25)


def get_model_weights(name):
    return Weights


def get_model(name, weights):
    assert name == "resnet18" and weights is Weights.DEFAULT
    return Net()


class ImageFolder(torch.utils.data.Dataset):
    def __init__(self, root, transform):
        self.classes = sorted(path.name for path in Path(root).iterdir())
        self.items = [(path, n) for n, name in enumerate(self.classes) for path in sorted(Path(root, name).iterdir())]
        self.transform = transform

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        path, label = self.items[index]
        return self.transform(torch.load(path)), label


models = SimpleNamespace(get_model_weights=get_model_weights, get_model=get_model)
datasets = SimpleNamespace(ImageFolder=ImageFolder)
"""
TIMM = """
from types import SimpleNamespace
from torchvision import Net


def create_model(name, pretrained):
    assert pretrained
    return Net()


data = SimpleNamespace(
    resolve_model_data_config=lambda model: {"mean": 0.5, "std": 0.25},
    create_transform=lambda mean, std, is_training: lambda image: (image - mean) / std,
)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    code = tmp_path / "code"
    code.mkdir()
    (code / "torchvision.py").write_text(TORCHVISION)
    (code / "timm.py").write_text(TIMM)
    (code / "fine_tune.py").write_text((EXAMPLES / "fine_tune.py").read_text())
    generator = torch.Generator().manual_seed(1)
    for part, count in (("train", 24), ("val", 8)):
        for label, level in (("dark", 0.2), ("light", 0.8)):
            folder = tmp_path / "data" / part / label
            folder.mkdir(parents=True)
            for number in range(count):
                noise = 0.1 * torch.rand(3, 9, 9, generator=generator)
                torch.save(level + noise, folder / f"{number:03}.pt")
    monkeypatch.syspath_prepend(str(code))
    for name in MADE_UP:
        sys.modules.pop(name, None)
    yield tmp_path
    for name in MADE_UP:
        sys.modules.pop(name, None)


def run(place: Path, *, epochs: int = 4, **changes: Any) -> tuple[Ended, list[Reported]]:
    definition = parse(yaml.safe_load((EXAMPLES / "fine_tune.yaml").read_text()))
    trainer = definition.trainer
    order = WorkOrder(
        key=AttemptKey(study_id="s", trial=0, fence=1),
        trainer=TrainerSpec(
            function=trainer.function,
            params={**trainer.params, "data": str(place / "data"), "batch_size": 8, "loaders": 0, **changes},
        ),
        params={"lr": 1e-3, "head_factor": 30.0, "open_blocks": 1, "weight_decay": 1e-5},
        seed=3,
        metric=definition.objective.metric,
        metrics=(definition.objective.metric,),
        from_resource=0.0,
        target_resource=float(epochs),
        horizon=9.0,
        storage_root=str(place / "storage"),
    )
    messages: list[Any] = []
    ended = run_order(order, messages.append, lambda: None)
    return ended, [one for one in messages if isinstance(one, Reported)]


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_the_head_learns_and_what_is_frozen_stays(place: Path, library: str) -> None:
    ended, reports = run(place, library=library)
    assert ended.outcome is Outcome.REACHED, ended.traceback
    assert [one.step for one in reports] == [1, 2, 3, 4]
    assert reports[-1].metrics["val_accuracy"] >= 0.9
    assert ended.checkpoint is not None
    trained = torch.load(place / "storage" / ended.checkpoint.path)["model"]
    before = __import__("torchvision").Net().state_dict()
    moved = {
        name for name in trained if trained[name].shape != before[name].shape or (trained[name] != before[name]).any()
    }
    assert trained["fc.weight"].shape == (2, 8)
    assert moved == {"layer2.0.weight", "layer2.0.bias", "fc.weight", "fc.bias"}  # no statistic of a batch norm either


def test_only_the_head_is_trained_where_nothing_is_opened(place: Path) -> None:
    import fine_tune  # type: ignore[import-not-found]  # the copy beside the stand-ins

    model, transform = fine_tune.pre_trained("torchvision", "resnet18")
    head = fine_tune.replace_head(model, 2)
    frozen = fine_tune.freeze(model, head, open_blocks=0)
    assert {name for name, one in model.named_parameters() if one.requires_grad} == {"fc.weight", "fc.bias"}
    assert len(frozen) == 4  # of Sequentials, what has parameters
    assert torch.allclose(transform(torch.full((3, 2, 2), 0.75)), torch.ones(3, 2, 2))
    assert fine_tune.schedule(0, 9.0) == 1.0
    assert fine_tune.schedule(5, float("inf")) == 1.0
    assert fine_tune.schedule(8, 9.0) < 0.05
