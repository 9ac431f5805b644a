import importlib
import re
from types import SimpleNamespace

import pytest

from pipelines import events, recipe
from pipelines.events import EVENTS, Hooks
from pipelines.recipe.config import configs_in
from pipelines.recipe.techniques import Techniques
from pipelines.techniques import make_techniques
from pipelines.techniques.ema import EMA


class Watching:
    """Writes down which of its methods was called."""

    def __init__(self, name, events, calls):
        for event in events:
            setattr(self, event, lambda state, event=event: calls.append((name, event)))


def test_the_docstring_tells_the_events_in_their_order():
    text = events.__doc__
    places = [re.search(rf"\b{event}\b", text).start() for event in EVENTS]
    assert places == sorted(places)


def test_hooks_are_called_in_the_order_of_the_techniques():
    calls = []
    hooks = Hooks([Watching("first", EVENTS, calls), Watching("second", ["step_end", "trial_end"], calls)])
    for event in EVENTS:
        for hook in getattr(hooks, event):
            hook(SimpleNamespace())
    both = {"step_end", "trial_end"}
    expected = [(name, event) for event in EVENTS for name in ("first", "second") if name == "first" or event in both]
    assert calls == expected


def test_an_event_that_nobody_implements_costs_no_hook():
    hooks = Hooks([Watching("only", ["epoch_end"], [])])
    assert [event for event in EVENTS if getattr(hooks, event)] == ["epoch_end"]


def test_a_recipe_without_techniques_has_no_hooks():
    hooks = Hooks(make_techniques(recipe.load("digits/quick")))
    assert all(getattr(hooks, event) == () for event in EVENTS)


def test_null_switches_a_technique_of_the_base_off():
    assert [type(made) for made in make_techniques(recipe.load("cifar10/davidnet-10"))] == [EMA]
    assert make_techniques(recipe.load("cifar10/davidnet-10", ["techniques.ema=null"])) == []


def test_techniques_are_fresh_for_each_trial():
    chosen = recipe.load("cifar10/davidnet-10")
    assert make_techniques(chosen)[0] is not make_techniques(chosen)[0]


@pytest.mark.parametrize("name", Techniques.model_fields)
def test_every_technique_has_a_module_with_its_class_and_an_event(name):
    (config,) = configs_in(Techniques.model_fields[name].annotation)
    technique = getattr(importlib.import_module(f"{config.package}.{name}"), config.__name__)
    assert any(hasattr(technique, event) for event in EVENTS)
