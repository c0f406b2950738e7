"""How well the search algorithms search: problems, methods, the protocol that compares them. Only the command line and
the benchmarks import this; nothing of the service's own work may."""
