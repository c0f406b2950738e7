"""Conversions between search spaces and those of other tools: lossless, or a clear error.

One module per tool, imported by name, so that nothing but the tool asked for is imported.
"""
