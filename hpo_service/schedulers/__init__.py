"""Schedulers decide how far each trial is trained; pure folds without I/O, clock or global randomness."""
