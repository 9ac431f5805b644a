"""The parts of `bench/search.py`: the space, the study and how it is shown."""
