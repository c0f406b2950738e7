"""What runs on the workers: trainables, training loops, recipes, data, checkpoints. Never imports hpo_service."""
