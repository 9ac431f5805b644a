"""bench/roofline.py as its caller sees it."""

import json

from bench import roofline
from pipelines.probes import roofline as probe
from pipelines.probes.roofline import Part, Rates, Roofline


def test_the_part_that_is_farthest_from_its_limit_comes_first():
    parts = {
        "loss": Part(calls=1, flops=0, bytes=1e6, limit=0.001, seconds=0.002),
        "optimizer": Part(calls=2, flops=0, bytes=4e6, limit=0.004, seconds=0.016),
        "matrix products": Part(calls=1, flops=3e9, bytes=1e6, limit=0.003, seconds=0.003),
    }
    table = roofline.table("a recipe", Roofline(Rates(1e12, 1e9), 0.032, parts))
    assert [row[0] for row in table.rows] == [
        "optimizer",
        "loss",
        "matrix products",
        "sum, eager",
        "a step as the recipe trains",
    ]
    assert table.rows[0] == ("optimizer", "2", "0", "4.000", "16.00", "4.000", "25%", "12.00")
    assert table.rows[3] == ("sum, eager", "4", "3.000", "6.000", "21.00", "8.000", "38%", "13.00")
    assert table.rows[4][4:] == ("32.00", "8.000", "25%", "24.00")
    assert "1.000 TFLOP/s" in table.caption
    assert "1.000 GB/s" in table.caption


def test_json_is_one_object(tmp_path, monkeypatch, call):
    def examine(chosen, dataset, world):
        assert (chosen.model.name, dataset.image_shape, world.device.type) == ("convnet", (1, 8, 8), "cpu")
        part = Part(calls=1, flops=3e9, bytes=1e6, limit=0.003, seconds=0.004)
        return Roofline(Rates(1e12, 1e9), 0.032, {"convolution, forward": part})

    monkeypatch.setattr(probe, "examine", examine)
    ended = call(roofline, "digits/quick", "--json", "--device", "cpu")
    assert ended.status == 0
    found = json.loads(ended.out)
    assert found["recipe"] == "digits/quick"
    assert found["rates"] == {"flops": 1e12, "bytes": 1e9}
    assert found["parts"]["convolution, forward"]["flops"] == 3e9
    assert list(tmp_path.iterdir()) == []
