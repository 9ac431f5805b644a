"""Which runs are one row, what such a row is made of, and what keeps others apart."""

from datetime import timedelta
from pathlib import Path

import pytest

from results import pools
from results.environment import known
from results.record import Run
from results.samples import of_run
from results.summary import pooled, summarize
from results.tables.runs import summary_tables
from results.tables.techniques import techniques_table
from tests.results import builders
from tests.results.builders import missed, record, trial

CPU = {
    "machine_class": "CPU",
    "device": "cpu",
    "versions": {"torch": "2.13.0"},
    "threads": {"intra_op": 1, "inter_op": 1},
}


def task(seed, host="h1", trials=None, environment=None, **changes):
    """A run of one trial, as a task of a job array leaves it."""
    number = next(builders.NUMBERS)
    given = {"id": f"task{number}", "seeds": [seed], "created": builders.CREATED + timedelta(seconds=number)}
    captured = CPU | {"machine_id": f"machine of {host}", "host_hash": host} | (environment or {})
    made = record(**(given | {"environment": captured} | changes))
    return Run(made, (trial(seed),) if trials is None else trials, Path("runs") / made.id)


def test_the_tasks_of_a_job_array_are_one_run_whose_trials_say_where_they_were_trained():
    tasks = [task(seed, f"h{seed % 2}") for seed in range(4)]
    (found,) = pools.pool(tasks)
    assert [one.seed for one in found.trials] == [0, 1, 2, 3]
    assert [found.host_of(one).hash for one in found.trials] == ["h0", "h1", "h0", "h1"]
    assert found.pooled == tuple(one.path for one in tasks)
    assert found.missing_seeds == []


def test_a_pooled_run_has_the_summary_of_its_runs():
    factors = {0: 1.0, 1: 1.02, 2: 1.03, 3: 1.05}
    tasks = [
        task(seed, f"h{seed % 2}", [trial(seed, laps=builders.laps(train=seconds), accuracy=0.95 + seed / 1000)])
        for seed, seconds in factors.items()
    ]
    (found,) = pools.pool(tasks)
    assert summarize(found, "strict") == pooled([of_run(one, "strict") for one in tasks])
    assert summarize(found, "strict").total_time.hosts.hosts == 2


def test_a_run_alone_stays_as_it_was_read():
    one = task(0)
    assert pools.pool([one])[0] is one


CHANGES = {
    "recipe": ({"recipe_hash": "another"}, "recipe: 0123456789ab → another"),
    "world": ({"world_size": 2}, "world: 1 → 2"),
    "smoke test": ({"smoke_test": True}, "smoke test: no → yes"),
    "commit": ({"commit": "e" * 40}, f"commit: {'f' * 40} → {'e' * 40}"),
    "code": ({"dirty": True, "environment": {"code": "abcd"}}, "dirty: False → True; code: None → abcd"),
    "machine": ({"environment": {"machine_class": "GPU"}}, "machine: CPU → GPU"),
    "threads": ({"environment": {"threads": {"intra_op": 4, "inter_op": 1}}}, "threads: 1 a process → 4 a process"),
    "versions": (
        {"environment": {"versions": {"torch": "2.14.0"}}},
        "versions: {'torch': '2.13.0'} → {'torch': '2.14.0'}",
    ),
    "strategy": ({"environment": {"strategy": "FSDP2"}}, "strategy: None → FSDP2"),
    "target": ({"trials": (trial(1, target=0.93),)}, "target: 94% → 93%"),
    "kernels": ({"trials": (trial(1, kernels=["a"]),)}, "kernels: PyTorch's → a"),
}


@pytest.mark.parametrize("changed", CHANGES)
def test_runs_that_could_not_be_one_stay_apart_and_a_line_says_why(changed):
    changes, why = CHANGES[changed]
    first, other = task(0, trials=(trial(0, kernels=[]),)), task(1, **changes)
    found = pools.pool([first, other])
    assert len(found) == 2
    if changed != "smoke test":  # which have a table of their own
        assert pools.reasons(found) == [f"cifar10/airnet: {other.path} is not pooled with {first.path}: {why}"]


def test_recipes_of_two_names_are_two_rows_of_which_nothing_is_said():
    found = pools.pool([task(0, recipe_name="b"), task(1, recipe_name="a")])
    assert [run.record.recipe_name for run in found] == ["a", "b"]
    assert pools.reasons(found) == []


def test_trials_that_broke_off_count_though_their_target_or_kernels_are_not_known():
    whole = [task(seed, trials=[trial(seed, kernels=["a"])]) for seed in (0, 1)]
    diverged = task(2, trials=[trial(2, outcome="diverged", reason="NaN", accuracy=None)])
    (found,) = pools.pool([task(3, trials=()), diverged, *whole])
    assert len(found.trials) == 3
    assert found.missing_seeds == [3]
    (table,) = summary_tables([found], "strict")
    assert table.rows[0][:4] == ("cifar10/airnet (4 runs, 1 host)", "3 of 4", "95.00 (2 of 3)", "2 of 3 (94%)")


def test_a_run_of_unknown_kernels_joins_one_row_and_bridges_none():
    unknown = task(2, trials=[trial(2, outcome="diverged", reason="NaN", accuracy=None)])
    found = pools.pool([unknown, task(0, trials=[trial(0, kernels=["a"])]), task(1, trials=[trial(1, kernels=["b"])])])
    assert [len(run.trials) for run in found] == [2, 1]


def test_trials_of_one_seed_count_once_where_the_seed_decides():
    tasks = [task(seed, f"h{copy}", [trial(seed, accuracy=0.95 + seed / 100)]) for copy in range(5) for seed in (0, 1)]
    (found,) = pools.pool(tasks)
    summary = summarize(found, "strict")
    assert (summary.trials, summary.accuracy_of.n, len(summary.total_time.samples)) == (10, 2, 10)
    says = "trials of one seed count as one"
    captions = [summary_tables([one], "strict")[0].caption for one in (found, pools.pool(tasks[:2])[0])]
    assert [says in caption for caption in captions] == [True, False]


def test_copies_of_a_seed_make_no_technique_significant():
    """Two seeds have too few accuracies for p < 0.05, however often they are trained again."""

    def runs(name, shift):
        return [
            task(seed, f"h{copy}", [trial(seed, accuracy=0.95 + seed / 100 + shift)], recipe_name=f"mnist/{name}")
            for copy in range(10)
            for seed in (0, 1)
        ]

    base, other = pools.pool([*runs("base", 0.0), *runs("other", 0.01)])
    table = techniques_table([base, other], "strict")
    (cell,) = [row[table.headers.index("over base, p")] for row in table.rows if row[0].startswith("mnist/other")]
    assert float(cell.partition(", ")[2]) > 0.2


def test_a_seed_that_one_of_two_runs_lacks_is_missing():
    whole = task(0, trials=(trial(0), trial(1)), seeds=[0, 1])
    (found,) = pools.pool([whole, task(0, "h2", seeds=[0, 1])])
    assert found.missing_seeds == [1]


def test_a_host_that_is_not_known_is_not_that_of_the_first_run():
    (found,) = pools.pool([task(0, "h1"), task(1, environment={"host_hash": {"unknown": "why"}})])
    assert [host and host.hash for host in map(found.host_of, found.trials)] == ["h1", None]
    assert of_run(found, "strict").hosts == ("h1", None)


def test_energy_is_the_mean_of_the_runs_that_measured_it():
    energies = [{"mean_w": 10.0, "joules_per_trial": 1.0}, {"mean_w": 20.0, "joules_per_trial": 2.0}, None]
    (found,) = pools.pool([task(seed, environment={"energy": one}) for seed, one in enumerate(energies)])
    energy = known(found.record.environment.energy)
    assert (energy.mean_w, energy.joules_per_trial) == (15.0, 1.5)


def test_trials_are_in_the_order_in_which_they_began():
    def at(seed, minute):
        return trial(seed, started=builders.CREATED + timedelta(minutes=minute))

    (found,) = pools.pool([task(0, trials=[at(0, 1), at(2, 3)], seeds=[0, 2]), task(1, trials=[at(1, 2)])])
    assert [one.seed for one in found.trials] == [0, 1, 2]


def test_a_training_on_two_hosts_counts_as_two():
    environment = {"host_hash": "h1", "ranks": [{"rank": 1, "host_hash": "h2"}]}
    (found,) = pools.pool([task(seed, environment=environment, world_size=2) for seed in (0, 1)])
    (table,) = summary_tables([found], "strict")
    assert table.rows[0][0] == "cifar10/airnet (2 runs, 2 hosts)"


def test_the_summary_says_of_how_many_runs_and_hosts_a_row_is():
    (found,) = pools.pool([task(0), task(1), task(2, "h2", [missed(2)])])
    (table,) = summary_tables([found, task(0, recipe_name="alone")], "strict")
    assert [row[0] for row in table.rows] == ["cifar10/airnet (3 runs, 2 hosts)", "alone"]


def test_runs_that_were_trained_until_decided_stay_alone_and_a_line_says_so():
    plain, planned = task(0), [task(seed, plan={"looks": (8, 16)}) for seed in (1, 2)]
    assert pools.pool([plain, *planned]) == [plain, *planned]
    said = [line.rpartition(": ")[2] for line in pools.reasons([plain, *planned])]
    assert said == ["it was trained until decided"] * 2
