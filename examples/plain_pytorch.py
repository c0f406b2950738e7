"""A plain PyTorch script, turned into a study: three lines of the training were changed, each marked with what it was.

    hpo serve                           # in one terminal
    python examples/plain_pytorch.py    # in another

The function goes to the workers with the names that it uses; nothing has to be installed or copied there.
"""

import torch
from sklearn.datasets import load_digits

import hpo_service as hpo

EPOCHS = 10


def digits():
    data = load_digits()
    x, y = torch.tensor(data.data, dtype=torch.float32) / 16, torch.tensor(data.target)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    return x[order[:1400]], y[order[:1400]], x[order[1400:]], y[order[1400:]]


def train(trial):  # was: def train():
    lr, hidden = trial.params["lr"], trial.params["hidden"]  # was: lr, hidden = 0.1, 32
    x, y, x_val, y_val = digits()
    model = torch.nn.Sequential(torch.nn.Linear(64, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    for epoch in range(1, EPOCHS + 1):
        for batch in torch.randperm(len(x)).split(64):
            loss = torch.nn.functional.cross_entropy(model(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            accuracy = (model(x_val).argmax(1) == y_val).float().mean()
        trial.report(epoch, val_accuracy=accuracy)  # was: print(epoch, accuracy)


STUDY = {
    "name": "plain-pytorch",
    "objective": {"metric": "val_accuracy", "direction": "maximize"},
    "space": {
        "lr": {"type": "loguniform", "low": 1e-3, "high": 1.0},
        "hidden": {"type": "power_of_two", "low": 8, "high": 128},
    },
    "algorithm": {"name": "random"},
    "budget": {"trials": 8},
}

if __name__ == "__main__":  # was: train()
    with hpo.Client() as client:
        study = client.create_study(STUDY, objective=train).wait(progress=True)
        print(f"best: {study.best_value:.3f} with {dict(study.best_params)}")
