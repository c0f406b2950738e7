"""The joint model of configurations and learning curves, and the choice of what to train next (freeze-thaw)."""
