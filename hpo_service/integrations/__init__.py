"""This service in the loops of other tools, and its studies in their pages.

Into a loop: `ray_tune` (an existing Tuner draws from and reports to a study), `lightning` and `transformers`
(callbacks that report to a trial). Out of the log: `optuna`, `mlflow`, `tensorboard`, `wandb` copy a study there, once
or following (`sending`, over `feed`); they only read from the service, and nothing that trains waits for them.

The other tool is imported by the module that is named after it, when that is used; where it is missing, `Unsupported`
names the line that installs it. Not here: bringing other tools' spaces, definitions and histories in (`foreign`).
"""
