import pytest

from pipelines import recipe as recipes
from results.literature import published, rates, scaling_anchors
from results.protocols import PROTOCOLS


@pytest.mark.parametrize("figure", published().values(), ids=str)
def test_a_figure_says_something_and_where_it_is_from(figure):
    assert figure.accuracy or figure.seconds
    assert figure.source
    assert figure.protocol is None or figure.protocol in PROTOCOLS


def test_a_name_without_a_space_is_a_recipe_of_ours_on_the_same_data():
    ours = [figure for figure in published().values() if figure.is_ours]
    assert {figure.recipe for figure in ours} <= set(recipes.names())
    for figure in ours:
        assert recipes.load(figure.recipe).data.name == figure.dataset


def test_a_time_to_another_target_than_our_recipes_says_so():
    for figure in published().values():
        if figure.seconds and not figure.is_ours and figure.dataset == "cifar10":
            assert figure.target, figure.recipe


def test_a_rate_is_of_a_recipe_of_ours():
    assert {one.recipe for one in rates()} <= set(recipes.names())


def test_a_rate_is_the_batch_over_the_time_of_a_step():
    (one,) = [one for one in rates() if one.step_ms]
    tokens = one.batch * recipes.load(one.recipe).data.tokens.length
    assert one.per_second == pytest.approx(tokens / (one.step_ms / 1000), abs=0.5)


def test_more_processes_are_more():
    assert all(anchor.processes > anchor.base for anchor in scaling_anchors())
