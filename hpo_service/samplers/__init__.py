"""Samplers choose configurations; pure folds without I/O, clock or global randomness."""
