"""Setups whose network is called through a function of the test."""

from dataclasses import replace


def calling(setup, forward, **changes):
    """The setup of a strategy that trains in place, with another forward function."""
    return replace(setup, strategy=replace(setup.strategy, forward=forward), **changes)
