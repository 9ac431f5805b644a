"""Measurements of a training that do not change it."""
