"""The variables by which git tells its hooks which repository calls them. Whoever starts git for a folder of its own
leaves them out: git would read and write that repository. Imports no torch."""

from collections.abc import Mapping

PLACES = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX"}


def without_places(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment for a git command that finds the repository by its folder."""
    return {name: value for name, value in variables.items() if name not in PLACES}
