"""Losses, models and optimizers of the lecture, for JAX."""
