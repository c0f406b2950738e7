"""What other tools wrote, read on the user's own machine: definitions and histories. Nothing here runs foreign code,
talks to the service or imports another tool before it is asked for.

`definitions` reads sweeps of Weights & Biases and experiments of Katib; `optuna_history`, `ray_history` and
`csv_history` read trials. `client.importing` sends them.
"""
