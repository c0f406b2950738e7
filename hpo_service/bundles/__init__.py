"""Bundles of code: built from a folder or from sources, and checked before anything is unpacked. Pure: no server."""
