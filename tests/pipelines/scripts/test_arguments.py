"""The arguments of a function of the user's own."""

import pytest

from pipelines.scripts.run import ScriptError

pytestmark = pytest.mark.usefixtures("modules_as_before")

SIGNATURES = {
    "keywords": "def train(run, lr: float, layers: list[int] = [1], *, name='a'): return lr / 10",
    "dataclass": """
        from dataclasses import dataclass, field
        @dataclass
        class Config:
            lr: float
            layers: list[int] = field(default_factory=lambda: [1])
            name: str = 'a'
        def train(run, config: Config): return config.lr / 10
        """,
    "pydantic": """
        from pydantic import BaseModel
        class Config(BaseModel):
            lr: float
            layers: list[int] = [1]
            name: str = 'a'
        def train(run, config: Config): return config.lr / 10
        """,
}


SIGNATURES["inherited"] = """
    from __future__ import annotations
    from dataclasses import dataclass, field
    @dataclass
    class Base:
        lr: float
        layers: list[int] = field(default_factory=lambda: [1])
    @dataclass
    class Config(Base):
        name: str = 'a'
        steps: int = field(default=0, init=False)
    def train(run, config: Config): return config.lr / 10
    """


@pytest.mark.parametrize("text", SIGNATURES.values(), ids=SIGNATURES)
def test_the_signature_is_the_schema(trainer, text):
    one = trainer(text, arguments={"lr": 3})
    assert one.config.arguments == {"lr": 3.0, "layers": [1], "name": "a"}
    assert one.run_trial(0).accuracy == pytest.approx(0.3)


@pytest.mark.parametrize("text", SIGNATURES.values(), ids=SIGNATURES)
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "mine.py:train: lr is missing"),
        ({"lr": "high"}, "lr='high': it should be a valid number"),
        ({"lr": 1, "layers": ["a"]}, r"layers\.0='a': it should be a valid integer"),
        ({"lr": 1, "name": False}, "name=False: it should be a valid string, in quotes: 'name=\"TEXT\"'"),
        ({"lr": 1, "nam": "b"}, r"there is no argument 'nam'; did you mean name\?"),
        ({"lr": 1, "momentum": 0.9}, "there is no argument 'momentum'; it takes lr, layers, name"),
    ],
)
def test_arguments_that_do_not_fit_are_one_line(trainer, text, arguments, words):
    with pytest.raises(ScriptError, match=words):
        trainer(text, arguments=arguments)


@pytest.mark.parametrize("text", [SIGNATURES["keywords"], SIGNATURES["dataclass"]])
def test_each_call_has_arguments_of_its_own(trainer, text):
    one = trainer(text.replace("lr / 10", "layers.pop() / 10"), arguments={"lr": 1, "layers": [1, 2]})
    assert [one.run_trial(seed).accuracy for seed in (0, 1)] == [0.2, 0.2]


NO_NUMBER = {
    "keyword": "def train(run, lr: float = None): return float(lr is None)",
    "dataclass": """
        from dataclasses import dataclass
        @dataclass
        class Config:
            lr: float = None
        def train(run, config: Config): return float(config.lr is None)
        """,
    "pydantic": """
        from pydantic import BaseModel
        class Config(BaseModel):
            lr: float = None
        def train(run, config: Config): return float(config.lr is None)
        """,
}


@pytest.mark.parametrize("text", NO_NUMBER.values(), ids=NO_NUMBER)
@pytest.mark.parametrize("arguments", [{}, {"lr": None}], ids=["by default", "as a record has it"])
def test_none_may_be_the_default_of_a_number(trainer, recwarn, text, arguments):
    one = trainer(text, arguments=arguments)
    assert one.config.arguments == {"lr": None}
    assert one.run_trial(0).accuracy == 1
    assert [str(warning.message) for warning in recwarn] == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "import torch\ndef train(run, optimizer=torch.optim.SGD): pass",
            "mine.py:train: optimizer=<class .*SGD'> cannot be recorded: ",
        ),
        (
            """
            from dataclasses import dataclass
            @dataclass
            class Config:
                lr: float = 1
                def __post_init__(self): raise ValueError("lr is too high")
            def train(run, config: Config): pass
            """,
            "mine.py:train: lr is too high",
        ),
    ],
)
def test_arguments_that_a_record_or_their_class_does_not_take_are_one_line(trainer, text, words):
    with pytest.raises(ScriptError, match=words) as raised:
        trainer(text)
    assert "\n" not in str(raised.value)
