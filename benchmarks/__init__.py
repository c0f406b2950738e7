"""Side-by-side benchmarks against peers. Each prints a table and writes JSON; see docs/benchmarks.md. Not installed."""
