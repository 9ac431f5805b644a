"""Imports run one way, and no two modules import each other, directly or through others."""

import ast
import importlib.metadata
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from pipelines.recipe.config import configs_in
from pipelines.recipe.techniques import Techniques

REPOSITORY = Path(__file__).resolve().parents[1]
OURS = ("bench", "kernels", "paceline", "pipelines", "results")


def python_files(*folders):
    """Without the sources that are part of committed records."""
    found = (path for folder in folders for path in (REPOSITORY / folder).rglob("*.py"))
    return sorted(path for path in found if not path.is_relative_to(REPOSITORY / "results" / "measured"))


def name_of(path):
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path):
    """Every module name that a file imports, anywhere in it, also by a name that it puts together for `import_module`.

    Of `from package import name`, both `package` and `package.name`. A name that ends in a dot stands for all that
    begin with it.
    """
    found, is_dynamic = set(), False
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "import_module":
            text = node.args[0].values[0] if isinstance(node.args[0], ast.JoinedStr) else node.args[0]
            is_dynamic = is_dynamic or not isinstance(text, ast.Constant)
            found |= {str(text.value)} if isinstance(text, ast.Constant) else set()
    if is_dynamic:  # by a name from a table
        constants = {str(node.value) for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        found |= constants & {name_of(file) for file in python_files(*OURS)}
    return found


def import_graph():
    """Of each of our modules, which of our modules it imports."""
    files = {name_of(path): path for path in python_files(*OURS)}
    graph = {}
    for module, path in files.items():
        names = imported(path)
        # `from package import module` need not mean what the package itself defines
        inner = {name.rpartition(".")[0] for name in names if name in files}
        outer = {name.rpartition(".")[0] for name in names if name not in files and not name.endswith(".")}
        names -= {name for name in names if name in inner and name not in outer}
        wanted = {name for name in names if not name.endswith(".")} & files.keys()
        wanted |= {file for name in names if name.endswith(".") for file in files if file.startswith(name)}
        graph[module] = wanted - {module}
    techniques = Techniques.model_fields.items()
    by_recipe = {f"{configs_in(field.annotation)[0].package}.{name}" for name, field in techniques}
    graph["pipelines.techniques"] |= by_recipe & files.keys()
    return graph


def test_no_module_imports_itself_through_others():
    tuple(TopologicalSorter(import_graph()).static_order())  # CycleError names the modules of a cycle


def test_the_graph_sees_the_imports_that_there_are():
    """So that the test above cannot pass because it sees nothing."""
    graph = import_graph()
    assert {"pipelines.train", "pipelines.recipe"} <= graph["pipelines.warmup"]
    assert "pipelines.data.resident" in graph["pipelines.data.loaders"], "by a name in a table"
    assert {"pipelines.strategies.ddp", "pipelines.strategies.fsdp2"} <= graph["pipelines.strategies"]
    assert "pipelines.data.augment" in graph["pipelines.data.pool"]
    assert {"pipelines.techniques.ema", "pipelines.probes.loader_costs"} <= graph["pipelines.techniques"]
    assert sum(map(len, graph.values())) > 300


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        ("kernels", {"bench", "pipelines", "results", "configs", "paceline", "tests"}),
        ("pipelines", {"bench", "results", "paceline", "tests"}),
        ("pipelines/recipe", {"bench", "results", "paceline", "tests", "kernels", "torch", "torchvision"}),
        ("results", {"torch", "torchvision", "bench", "pipelines", "kernels", "paceline", "tests"}),
        ("bench", {"paceline", "tests"}),
    ],
)
def test_imports_run_one_way(folder, forbidden):
    files = python_files(folder)
    assert files
    wrong = {name_of(path): {name.split(".")[0] for name in imported(path)} & forbidden for path in files}
    assert {path: names for path, names in wrong.items() if names} == {}


def test_nothing_in_bench_hides_another_module():
    """bench/ comes first on sys.path when one of its files is run."""
    names = {path.stem for path in (REPOSITORY / "bench").iterdir() if path.suffix == ".py" or path.is_dir()}
    taken = sys.stdlib_module_names | set(importlib.metadata.packages_distributions())
    assert names & (taken - {"__init__", "__pycache__"}) == set()


def modules_after(statement):
    program = f"import sys\n{statement}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    command = [sys.executable, "-c", program]
    return set(subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout.split())


def test_recipes_are_read_without_torch():
    assert "torch" not in modules_after("from pipelines import recipe\nrecipe.load('digits/quick')\nrecipe.names()")


def test_commands_start_without_torch():
    """`--help` does not wait for it, and `runtime.prepare` has to come before it."""
    names = [name_of(path) for path in python_files("bench") if "@cli.command" in path.read_text(encoding="utf-8")]
    assert len(names) > 10
    assert "torch" not in modules_after("\n".join(f"import {name}" for name in names))


def test_results_are_read_without_torch():
    names = [name_of(path) for path in python_files("results") if path.stem != "__init__"]
    modules = modules_after("\n".join(f"import {name}" for name in names))
    assert "results" in modules
    assert modules & {"torch", "pipelines", "bench"} == set()
