"""Ray Tune trainables of a user, good and bad, as they are written for Ray Tune. They import nothing of ours."""

# ruff: noqa

import json
import os
import tempfile
from pathlib import Path

import numpy as np
from ray import train, tune
from ray.train import report as train_report


def _epoch(w, config, epoch):
    noise = np.random.default_rng([7, epoch]).normal(size=4)
    w = np.asarray(w) * (1 - config["lr"]) + 0.01 * noise
    return w, float((w**2).sum())


def _start():
    return np.random.default_rng(3).normal(size=4)


def reports(config):
    w, first = _start(), 1
    checkpoint = tune.get_checkpoint()
    if checkpoint:
        with checkpoint.as_directory() as folder:
            state = json.loads(Path(folder, "state.json").read_text())
        w, first = state["w"], state["epoch"] + 1
    for epoch in range(first, 1000):
        w, loss = _epoch(w, config, epoch)
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "state.json").write_text(json.dumps({"w": list(w), "epoch": epoch}))
            tune.report({"val_loss": loss}, checkpoint=tune.Checkpoint.from_directory(folder))


def yields(config):
    w = _start()
    for epoch in range(1, 1000):
        w, loss = _epoch(w, config, epoch)
        print("epoch", epoch)
        yield {"val_loss": loss}


class Descends(tune.Trainable):
    def setup(self, config):
        self.w = _start()

    def step(self):
        self.w, loss = _epoch(self.w, self.config, self.iteration + 1)
        return {"val_loss": loss}

    def save_checkpoint(self, checkpoint_dir):
        return {"w": list(self.w)}

    def load_checkpoint(self, checkpoint):
        self.w = np.asarray(checkpoint["w"])


class DescendsInFiles(Descends):
    def save_checkpoint(self, checkpoint_dir):
        np.save(Path(checkpoint_dir, "w.npy"), self.w)

    def load_checkpoint(self, checkpoint_dir):
        self.w = np.load(Path(checkpoint_dir, "w.npy"))


# What only Ray Tune has


def returns_dict(config):
    return {"val_loss": config["lr"] ** 2, "note": "text", "deep": {"er": 3}}


def returns_number(config):
    return 0.25


def returns_text(config):
    return "good"


def reports_then_returns(config):
    for epoch in range(3):
        tune.report({"val_loss": 1.0 / (epoch + 1)})
    return {"val_loss": 0.125}


def reports_through_train(config):
    assert train.get_checkpoint() is None
    train.report({"val_loss": 2.0})
    train_report(metrics={"val_loss": 1.0}, checkpoint=None)
    print("context", train.get_context().get_trial_id())


def rare_checkpoints(config):
    first = 1
    checkpoint = tune.get_checkpoint()
    if checkpoint:
        first = int(Path(checkpoint.path, "epoch").read_text()) + 1
    for epoch in range(first, 1000):
        checkpoint = None
        if epoch % 3 == 0:
            folder = tempfile.mkdtemp()
            Path(folder, "epoch").write_text(str(epoch))
            checkpoint = tune.Checkpoint.from_directory(folder)
        tune.report({"val_loss": 1.0 / epoch, "epoch": epoch}, checkpoint=checkpoint)


def tells_context(config):
    context = tune.get_context()
    Path("left.txt").write_text("behind")
    names = {
        "id": context.get_trial_id(),
        "name": context.get_trial_name(),
        "dir": context.get_trial_dir(),
        "experiment": context.get_experiment_name(),
        "resources": context.get_trial_resources().required_resources,
        "cwd": os.getcwd(),
        "config": config,
    }
    print(json.dumps(names))
    tune.report({"val_loss": 1.0})


def says_done(config):
    for epoch in range(1, 100):
        tune.report({"val_loss": 1.0 / epoch, "done": epoch == 3})


def own_iterations(config):
    for epoch in range(1, 100):
        tune.report({"val_loss": 1.0, "training_iteration": 10 * epoch})


def swallows(config):
    for epoch in range(1, 100):
        try:
            tune.report({"val_loss": 1.0})
        except Exception:
            pass


def cleans_up(config):
    try:
        for epoch in range(100):
            yield {"val_loss": 1.0}
    finally:
        print("cleaned up")


def takes_data(config, data=None, more=0):
    tune.report({"val_loss": float(sum(data)) + more})


bound = tune.with_parameters(takes_data, data=[1, 2, 3], more=0.5)
wide = tune.with_resources(bound, {"cpu": 2})
tuner = tune.Tuner(takes_data)


class TakesData(tune.Trainable):
    def setup(self, config, data=None):
        self.data = data

    def step(self):
        return {"val_loss": float(sum(self.data))}


bound_class = tune.with_parameters(TakesData, data=[4, 5])


def needs_more(config, data):
    pass


class Tells(tune.Trainable):
    made = 0

    def setup(self, config):
        type(self).made += 1
        Path(self.logdir, "left.txt").write_text("behind")

    def step(self):
        print(json.dumps([self.trial_id, self.trial_name, self.iteration, self.training_iteration, self.logdir]))
        return {"val_loss": 1.0, "done": self.iteration == 2, "made": self.made}

    def cleanup(self):
        print("cleaned up")


class Resets(tune.Trainable):
    made = 0

    def setup(self, config):
        type(self).made += 1
        self.lr = config["lr"]

    def reset_config(self, new_config):
        if new_config["lr"] == 0.5:
            return False
        self.lr = new_config["lr"]
        return True

    def step(self):
        return {"val_loss": self.lr, "made": self.made, "still": self.config["lr"]}


class SavesALock(Descends):
    def save_checkpoint(self, checkpoint_dir):
        import threading

        return {"lock": threading.Lock()}


class CannotLoad(Descends):
    def load_checkpoint(self, checkpoint):
        raise RuntimeError("these weights are of another model")


class FailsInStep(Descends):
    def step(self):
        raise ValueError("no such layer")


class ReportsText(Descends):
    def step(self):
        return {"val_loss": "low"}


class StepsToNowhere(Descends):
    def step(self):
        return 3


class NotOurs:
    def step(self):
        pass


# Bad input, as test_bad_user_code asks for it


def fails(config):
    tune.report({"val_loss": 1.0})
    raise ValueError("no such layer")


def exits(config):
    raise SystemExit(3)


def lacks(config):
    tune.report({"val_loss": config["momentun"]})


def misnames(config):
    tune.report({"val_los": 1.0, "accuracy": 0.5})


def nan(config):
    tune.report({"val_loss": float("nan")})


def text(config):
    tune.report({"val_loss": "low"})


def nothing(config):
    pass


def wrong_checkpoint(config):
    tune.report({"val_loss": 1.0}, checkpoint={"w": 1})
