import json

import jsonschema
import pytest

from bench.command_line.json_output import RunObject, VerdictObject, run_object, verdict_object
from results import gate, store
from results.rules import rules
from tests.results import builders
from tests.results.builders import samples


@pytest.fixture
def kept(tmp_path):
    """An interrupted run of two trials of three, of which one missed the target."""
    run = store.create(tmp_path, builders.record(seeds=[0, 1, 2], world_size=2))
    run.append(builders.throttled(0))
    run.append(builders.missed(1))
    run.finish("interrupted", "Ctrl-C")
    return store.read(run.path)


def test_a_run_is_one_object(kept):
    found = run_object(kept, "airbench").model_dump()
    assert (found["recipe"], found["status"], found["target"]) == ("cifar10/airnet", "interrupted", 0.94)
    assert (found["path"], found["missing_seeds"], found["smoke_test"]) == (str(kept.path), [2], False)
    assert found["processes"] == 2
    reached, missed = found["trials"]
    assert (reached["outcome"], missed["outcome"]) == ("reached", "missed")
    assert (reached["marks"], missed["marks"]) == (["throttled"], [])
    assert reached["time_to_target"] > 0
    assert missed["time_to_target"] is None
    assert (found["unit"], reached["rate"]) == ("images/s", 300 / 333_000)


def test_objects_are_as_their_schemas_say(kept):
    night = samples([1.0, 1.001, 0.999, 1.002] * 4)
    baseline = [night] * 5 + [samples([1.0] * 16, recipe="cifar10/other")] * 5
    judgements = gate.judge(baseline, [samples([1.1, 1.101, 1.099, 1.102] * 4)], rules(["time:3%"]))
    objects = [(RunObject, run_object(kept, "strict")), *((VerdictObject, verdict_object(one)) for one in judgements)]
    for kind, one in objects:
        printed = json.loads(json.dumps(one.model_dump()))
        jsonschema.validate(printed, kind.model_json_schema())
    assert [one.decision for _, one in objects[1:]] == ["worse", "missing"]
