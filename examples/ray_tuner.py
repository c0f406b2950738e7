"""An existing Ray Tune `Tuner` whose search runs in a study here. The three lines that differ are numbered.

    hpo serve &
    python examples/ray_tuner.py

The training function, its reports and its checkpoints stay as they are. The study's algorithm (ASHA here) decides which
configurations are tried and how far each is trained; Tune runs them. Kill it and start it again: it goes on.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from ray import tune

import hpo_service as hpo
from hpo_service.integrations.ray_tune import HpoCallback, HpoScheduler, HpoSearcher, can_restore

STUDY = {
    "name": "ray-tuner",
    "objective": {"metric": "loss", "direction": "minimize"},
    "space": {
        "lr": {"type": "loguniform", "low": 1e-4, "high": 1.0},
        "momentum": {"type": "uniform", "low": 0.0, "high": 0.95},
    },
    "algorithm": {"name": "asha", "max_resource": 9},  # in iterations, one per report
    "trainer": {"external": True},
    "budget": {"trials": 6},
    "parallel": 2,
}


def train(config: dict[str, float]) -> None:
    """Gradient descent with momentum down a valley, as Ray Tune's own examples do it."""
    position, velocity, first = [1.0, 1.0], [0.0, 0.0], 1
    checkpoint = tune.get_checkpoint()
    if checkpoint:
        with checkpoint.as_directory() as folder:
            first, position, velocity = json.loads((Path(folder) / "state.json").read_text())
    for iteration in range(first, 10):
        for axis, steepness in enumerate((1.0, 20.0)):
            velocity[axis] = config["momentum"] * velocity[axis] - config["lr"] * steepness * position[axis]
            position[axis] = min(1e3, max(-1e3, position[axis] + velocity[axis]))
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "state.json").write_text(json.dumps([iteration + 1, position, velocity]))
            loss = 0.5 * (position[0] ** 2 + 20 * position[1] ** 2)
            tune.report({"loss": loss}, checkpoint=tune.Checkpoint.from_directory(folder))


def main(storage: str = str(Path.home() / "ray_results")) -> None:
    """Runs the Tuner, or goes on with one that was interrupted."""
    if can_restore(f"{storage}/{STUDY['name']}"):
        tuner = tune.Tuner.restore(f"{storage}/{STUDY['name']}", trainable=train)
    else:
        client = hpo.Client()
        known = (study for study in client.studies(name=STUDY["name"]) if not study.ended)
        study = next(known, None) or client.create_study(STUDY)
        tuner = tune.Tuner(
            train,
            tune_config=tune.TuneConfig(
                num_samples=-1,  # the study's budget ends the search
                search_alg=HpoSearcher(study),  # 1
                scheduler=HpoScheduler(study),  # 2
            ),
            run_config=tune.RunConfig(
                name=STUDY["name"],
                storage_path=storage,
                verbose=0,
                callbacks=[HpoCallback(study)],  # 3
            ),
        )
    results = tuner.fit()
    best = results.get_best_result(metric="loss", mode="min")
    print(f"{len(results)} trials, {len(results.errors)} failed")
    print(f"best loss {best.metrics['loss']:.4g} with {best.config}")


if __name__ == "__main__":
    main(*sys.argv[1:])
