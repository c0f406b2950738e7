"""Where attempts run: Ray, or a virtual clock over simulated curves."""
