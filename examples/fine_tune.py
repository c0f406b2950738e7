"""Fine-tune a pre-trained image model of torchvision or timm: which layers are frozen, and the small learning rates.

    pip install torchvision                    # or: pip install timm
    hpo submit examples/fine_tune.yaml --code examples

The images lie in `data/train/CLASS/*.jpg` and `data/val/CLASS/*.jpg`, on every worker. The library downloads the
weights the first time (into TORCH_HOME), and the images are prepared as those weights were trained.
"""

import math

import torch
from torch import nn


def train(trial):
    params = trial.params
    model, transform = pre_trained(params["library"], params["model"])
    train_set, val_set = (images(f"{params['data']}/{part}", transform) for part in ("train", "val"))
    head = replace_head(model, len(train_set.classes))
    frozen = freeze(model, head, open_blocks=params["open_blocks"])
    model.to(trial.device)
    groups = [{"params": list(head.parameters()), "lr": params["lr"] * params["head_factor"]}]
    opened = [p for p in model.parameters() if p.requires_grad and not any(p is h for h in head.parameters())]
    if opened:
        groups.append({"params": opened, "lr": params["lr"]})
    optimizer = torch.optim.AdamW(groups, weight_decay=params["weight_decay"])

    first, state = 1, trial.load_checkpoint()
    if state is not None:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["epoch"] + 1
    for epoch in range(first, 1000):
        generator = torch.Generator().manual_seed(trial.seed % 2**32 + epoch)  # the same order after a pause
        loader = torch.utils.data.DataLoader(
            train_set, params["batch_size"], shuffle=True, generator=generator, num_workers=params.get("loaders", 0)
        )
        share = schedule(epoch - 1, trial.resource_horizon)
        train_loss = one_epoch(model, frozen, loader, optimizer, share, trial.device)
        accuracy, val_loss = evaluate(model, val_set, params["batch_size"], trial.device)
        trial.report(epoch, val_accuracy=accuracy, val_loss=val_loss, train_loss=train_loss)
        if trial.should_save:
            trial.save_checkpoint({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch})


def pre_trained(library, name):
    """The model with its weights, and the transform that its images need: their size and normalisation."""
    if library == "timm":
        import timm

        model = timm.create_model(name, pretrained=True)
        config = timm.data.resolve_model_data_config(model)
        return model, timm.data.create_transform(**config, is_training=False)
    import torchvision

    weights = torchvision.models.get_model_weights(name).DEFAULT
    return torchvision.models.get_model(name, weights=weights), weights.transforms()


def images(folder, transform):
    import torchvision  # timm brings it along

    return torchvision.datasets.ImageFolder(folder, transform)


def replace_head(model, classes):
    """Put a fresh layer in the place of the last linear one; returns it."""
    name, last = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear)][-1]
    head = nn.Linear(last.in_features, classes)
    parent, _, own = name.rpartition(".")
    setattr(model.get_submodule(parent), own, head)
    return head


def freeze(model, head, open_blocks):
    """Freeze all but the head and the last `open_blocks` blocks; returns what is frozen."""
    blocks = []
    for child in model.children():
        blocks += list(child.children()) if isinstance(child, nn.Sequential) else [child]
    blocks = [block for block in blocks if block is not head and any(True for _ in block.parameters())]
    blocks = [block for block in blocks if not any(module is head for module in block.modules())]
    frozen = blocks[: len(blocks) - open_blocks]
    for block in frozen:
        block.requires_grad_(False)
    return frozen


def schedule(epoch, horizon):
    """The share of the learning rate in this epoch: a half cosine to the trial's horizon, if it has one."""
    return 1.0 if math.isinf(horizon) else 0.5 * (1 + math.cos(math.pi * epoch / horizon))


def one_epoch(model, frozen, loader, optimizer, share, device):
    model.train()
    for block in frozen:
        block.eval()  # the statistics of its batch norms stay those of the weights
    rates = [group["lr"] for group in optimizer.param_groups]
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate * share
    total = count = 0
    for batch, labels in loader:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(batch.to(device)), labels.to(device))
        loss.backward()
        optimizer.step()
        total, count = total + loss.item() * len(labels), count + len(labels)
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    return total / count


@torch.no_grad()
def evaluate(model, val_set, batch_size, device):
    model.eval()
    right = total = 0.0
    for batch, labels in torch.utils.data.DataLoader(val_set, batch_size):
        scores, labels = model(batch.to(device)), labels.to(device)
        right += (scores.argmax(1) == labels).sum().item()
        total += nn.functional.cross_entropy(scores, labels, reduction="sum").item()
    return right / len(val_set), total / len(val_set)
