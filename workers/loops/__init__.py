"""Training loops. `single` trains one trial; what it is made of (optimisers, schedules, batches) lies beside it."""
