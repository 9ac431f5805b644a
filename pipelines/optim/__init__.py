"""Optimizers, parameter groups, schedules and learning-rate scaling."""
