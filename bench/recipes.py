"""List the shipped recipes, or show options: bench/recipes.py list 'mnist/*', bench/recipes.py show mnist/base"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

if __name__ == "__main__":  # this tree, whatever else is installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.command_line import cli, options
from bench.command_line.options import Argument, Options
from pipelines import recipe

PROG = "bench/recipes.py"
EXAMPLES = """\
examples:
  python bench/recipes.py list                            every recipe with its title
  python bench/recipes.py list 'cifar10/ladder/*' --json
  python bench/recipes.py list --fidelity cifar10/e1      what was compared with the authors' code, and what differs
  python bench/recipes.py show cifar10/airbench94         every option of a recipe, defaults and bases included
  python bench/recipes.py show mnist/base epochs=2"""


@dataclass(frozen=True, kw_only=True)
class RecipesOptions(Options):
    """The options of bench/recipes.py."""

    action: Annotated[Literal["list", "show"], Argument(positional=True)]
    """list recipes with their titles, or show every option of recipes"""
    words: Annotated[list[str], Argument(metavar="RECIPE | key=value ...", positional=True)] = field(
        default_factory=list
    )
    """recipes by name, glob or path to a YAML file (list: all by default); show: also options to set"""
    fidelity: bool = False
    """list: how closely each recipe follows its source, and which test checks it"""
    json: bool = False
    """print one JSON object per recipe. list: name and title, or the fidelity statement; show: name, hash and recipe"""

    def __post_init__(self) -> None:
        names = [word for word in self.words if "=" not in word]
        if self.action == "list" and len(names) < len(self.words):
            raise ValueError("list sets no options: use show RECIPE key=value")
        if self.action == "show" and self.fidelity:
            raise ValueError("--fidelity goes with list")
        if self.action == "show" and not names:
            raise ValueError("show needs a recipe")


@cli.command
def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, read, print."""
    given = options.parse(RecipesOptions, PROG, arguments, description=__doc__, epilog=EXAMPLES)
    patterns = [word for word in given.words if "=" not in word]
    names = recipe.select(patterns) if patterns else recipe.names()
    if given.fidelity:
        print_fidelity(names, as_json=given.json)
    elif given.action == "list":
        print_list(names, as_json=given.json)
    else:
        print_recipes(names, [word for word in given.words if "=" in word], as_json=given.json)
    return cli.OK


def print_list(names: Sequence[str], *, as_json: bool) -> None:
    """Names and titles."""
    width = max(map(len, names))
    for name in names:
        if as_json:
            cli.print_json({"name": name, "title": recipe.title(name)})
        else:
            print(name.ljust(width), recipe.title(name), sep="  ")


def print_fidelity(names: Sequence[str], *, as_json: bool) -> None:
    """The statements on the recipes that name a source. ValueError where none does."""
    from results.fidelity import fidelity

    found = {name: statement for name in names if (statement := fidelity(name))}
    if not found:
        raise ValueError(f"{', '.join(names)}: the recipe names no source to compare it with")
    for name, statement in found.items():
        if as_json:
            cli.print_json({"name": name} | statement.model_dump(mode="json", exclude={"recipes"}))
        else:
            print(name, *(f"  {line}" for line in statement.lines()), sep="\n")


def print_recipes(names: Sequence[str], overrides: Sequence[str], *, as_json: bool) -> None:
    """Resolved recipes, as YAML that is a recipe file, or as JSON."""
    import yaml

    for name in names:
        chosen = recipe.load(name, overrides)
        settings = chosen.settings
        if as_json:
            cli.print_json({"name": name, "hash": chosen.hash, "recipe": settings})
        else:
            print(f"# {name}, recipe hash {chosen.hash}")
            print(yaml.safe_dump(settings, sort_keys=False))


if __name__ == "__main__":
    sys.exit(main())
