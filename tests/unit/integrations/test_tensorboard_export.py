"""A study's event files, read back with TensorBoard's own reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.plugins.hparams import metadata

import hpo_service as hpo
from hpo_service.errors import Conflict
from hpo_service.integrations import tensorboard as exporting
from tests.unit.integrations.conftest import DEFINITION, train


def events(folder: Path) -> list[Any]:
    return [event for path in sorted(folder.glob("events.out.*")) for event in EventFileLoader(str(path)).Load()]


def scalars(folder: Path, tag: str) -> list[tuple[int, float]]:
    return [
        (event.step, value.tensor.float_val[0])
        for event in events(folder)
        for value in event.summary.value
        if value.tag == tag
    ]


def plugin(folder: Path, tag: str) -> Any:
    """What the HParams page is told under a tag; exactly once."""
    (found,) = [value for event in events(folder) for value in event.summary.value if value.tag == tag]
    content = found.metadata.plugin_data.content
    return {
        metadata.EXPERIMENT_TAG: metadata.parse_experiment_plugin_data,
        metadata.SESSION_START_INFO_TAG: metadata.parse_session_start_info_plugin_data,
        metadata.SESSION_END_INFO_TAG: metadata.parse_session_end_info_plugin_data,
    }[tag](content)


def curve(number: int) -> list[tuple[int, float]]:
    return [(step, pytest.approx(number + 1 / step)) for step in (1, 2, 3)]


def test_scalars_and_parameters_of_every_trial(study: hpo.Study, tmp_path: Path) -> None:
    for number in range(3):
        train(study, number, fail=number == 1)
    sent = exporting.export(study, tmp_path)
    assert sent.place == str(tmp_path / "moons")
    for trial in study.trials():
        folder = tmp_path / "moons" / f"trial-{trial.number:05d}"
        assert scalars(folder, "loss") == curve(trial.number)
        assert scalars(folder, "accuracy") == [(step, pytest.approx(step / 10)) for step in (1, 2, 3)]
        start = plugin(folder, metadata.SESSION_START_INFO_TAG)
        assert start.hparams["lr"].number_value == trial.params["lr"]
        assert start.hparams["width"].number_value == trial.params["width"]
        kind = trial.params["kind"]
        assert start.hparams["kind"].string_value == ("null" if kind is None else kind)
        assert plugin(folder, metadata.SESSION_END_INFO_TAG).status == (2 if trial.number == 1 else 1)
    told = plugin(tmp_path / "moons", metadata.EXPERIMENT_TAG)
    infos = {info.name: info for info in told.hparam_infos}
    assert set(infos) == {"lr", "width", "kind", "depth"}
    assert (infos["lr"].domain_interval.min_value, infos["lr"].domain_interval.max_value) == (1e-4, 1e-1)
    assert [one.string_value for one in infos["kind"].domain_discrete.values] == ["a", "b", "null"]
    assert [one.name.tag for one in told.metric_infos] == ["accuracy", "loss"]


def test_going_on_appends_only_what_is_new(study: hpo.Study, tmp_path: Path) -> None:
    train(study, 0)
    running = study.ask(wait_s=0)
    assert running is not None
    running.report(1, loss=0.5)
    exporting.export(study, tmp_path)
    folder = tmp_path / "moons" / "trial-00001"
    assert scalars(folder, "loss") == [(1, 0.5)]
    assert exporting.export(study, tmp_path).points == 0
    running.report(2, loss=0.25, f1=0.5)
    running.tell()
    exporting.export(study, tmp_path)
    assert scalars(folder, "loss") == [(1, 0.5), (2, 0.25)]
    assert scalars(folder.parent / "trial-00000", "loss") == curve(0)
    plugin(folder, metadata.SESSION_START_INFO_TAG)
    told = plugin(folder.parent, metadata.EXPERIMENT_TAG)
    assert [one.name.tag for one in told.metric_infos] == ["accuracy", "f1", "loss"]


@pytest.mark.parametrize("calls", range(4))
def test_an_interrupted_batch_is_taken_back(
    study: hpo.Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    running = study.ask(wait_s=0)
    assert running is not None
    running.report(1, loss=0.5)
    exporting.export(study, tmp_path)
    running.report(2, loss=0.25)
    running.tell()
    train(study, 1)
    train(study, 2)
    written = exporting.TensorboardSink._append
    left = calls

    def dying(self: Any, name: str, records: Any) -> None:
        nonlocal left
        if left == 0:
            written(self, name, records[:2])
            raise OSError("the disc is full")
        left -= 1
        written(self, name, records)

    monkeypatch.setattr(exporting.TensorboardSink, "_append", dying)
    with pytest.raises(OSError, match="full"):
        exporting.export(study, tmp_path)
    monkeypatch.undo()
    exporting.export(study, tmp_path)
    assert scalars(tmp_path / "moons" / "trial-00000", "loss") == [(1, 0.5), (2, 0.25)]
    for number in (1, 2):
        folder = tmp_path / "moons" / f"trial-{number:05d}"
        assert scalars(folder, "loss") == curve(number)
        plugin(folder, metadata.SESSION_START_INFO_TAG)
        plugin(folder, metadata.SESSION_END_INFO_TAG)


def test_small_batches_leave_the_same(study: hpo.Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpo_service.integrations.feed.PAGE", 1)
    monkeypatch.setattr("hpo_service.integrations.feed.MOST_TRIALS", 1)
    for number in range(3):
        train(study, number)
    exporting.export(study, tmp_path)
    for number in range(3):
        folder = tmp_path / "moons" / f"trial-{number:05d}"
        assert scalars(folder, "loss") == curve(number)
        plugin(folder, metadata.SESSION_START_INFO_TAG)
        plugin(folder, metadata.SESSION_END_INFO_TAG)


def test_a_folder_holds_one_study(sdk: hpo.Client, study: hpo.Study, tmp_path: Path) -> None:
    train(study, 0)
    exporting.export(study, tmp_path)
    other = sdk.create_study(DEFINITION)
    with pytest.raises(Conflict, match="holds study"):
        exporting.export(other, tmp_path)


def test_a_name_with_slashes_stays_within_the_folder(sdk: hpo.Client, tmp_path: Path) -> None:
    study = sdk.create_study(DEFINITION | {"name": "../../up: we/go"})
    train(study, 0)
    exporting.export(study, tmp_path / "logs")
    assert [path.name for path in (tmp_path / "logs").iterdir()] == ["_.._up_ we_go"]


def test_a_long_name_is_cut_to_what_a_file_system_takes(sdk: hpo.Client, tmp_path: Path) -> None:
    study = sdk.create_study({**DEFINITION, "name": "学" * 200})
    train(study, 0)
    sent = exporting.export(study, tmp_path)
    assert Path(sent.place).is_dir()
    assert scalars(Path(sent.place) / "trial-00000", "loss") == curve(0)
