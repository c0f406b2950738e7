"""The loop: load → fold → propose → commit → launch → collect → commit.

`loop` decides and launches on the main thread (Ray dies with the thread that started it), `collector` stores what
workers say on its own thread, so that a report never waits for a proposal. Everything that must survive is in the
database; what lives here can be killed at any moment. `process.main` is the entry point.
"""
