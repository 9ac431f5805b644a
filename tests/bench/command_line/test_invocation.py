import pytest

from bench.command_line.invocation import as_typed, typed_as


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bench/run.py: error: no", "paceline run: error: no"),
        ("[rank1]: bench/run.py: error", "[rank1]: paceline run: error"),
        ("run `python bench/data.py mnist` there", "run `paceline data mnist` there"),
        ("accelerate launch bench/run.py a", "accelerate launch -m paceline run a"),
        (
            "accelerate launch --multi_gpu --num_processes N bench/run.py …",
            "accelerate launch --multi_gpu --num_processes N -m paceline run …",
        ),
        ("../mine/bench/run.py: is not Python", "../mine/bench/run.py: is not Python"),
        ("bench/training/launch.py", "bench/training/launch.py"),
        ("pip install -e '.[report]' -c constraints.txt", "pip install 'PATH/TO/PACELINE[report]'"),
    ],
)
def test_commands_are_written_as_they_were_typed(text, expected):
    assert as_typed(text) == text
    with typed_as("paceline"):
        assert as_typed(text) == expected
    assert as_typed(text) == text


def test_the_program_may_be_a_module():
    with typed_as("python -m paceline"):
        assert as_typed("use bench/compare.py") == "use python -m paceline compare"
