"""For a training of your own: the run that your function is given, and the errors that it can raise."""

from pipelines.scripts.run import LAPS, Run, ScriptError

__all__ = ["LAPS", "Run", "ScriptError"]
