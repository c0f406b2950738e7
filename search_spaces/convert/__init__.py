"""Conversions between search spaces and those of other tools: lossless, or a clear error.

One module per tool, imported by name, so that nothing but the tool asked for is imported: `optuna`, `ray_tune`,
`configspace`. What a tool cannot say is refused with the parameter, the reason and a remedy; `drop` gives up some of it
on purpose.
"""
