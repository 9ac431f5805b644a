import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils import cpp_extension

from kernels import choice
from kernels.cpu import build, fused

AVX2 = frozenset({"avx2", "fma"})


@pytest.fixture
def nothing_built(monkeypatch, tmp_path):
    """As on a machine with AVX2 where nothing is compiled yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(build, "cpu_flags", lambda: AVX2)
    build.path.cache_clear()
    yield tmp_path
    build.path.cache_clear()


def test_without_a_compiler_one_line_says_so(nothing_built, monkeypatch, capsys):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert build.library.__wrapped__() is None
    message = "plain PyTorch runs instead of the CPU kernels: no C++ compiler was found; install g++ or set CXX"
    assert capsys.readouterr().err == f"kernels.cpu: {message}\n"


@pytest.mark.parametrize(
    ("value", "found"), [("env c++", ["env", "c++"]), ("no-such-compiler -m64", None), (" ", ["c++"])]
)
def test_the_compiler_may_have_arguments(monkeypatch, value, found):
    monkeypatch.setenv("CXX", value)
    assert build.compiler() == found


def test_without_ninja_the_line_says_what_to_install(nothing_built, monkeypatch):
    monkeypatch.setattr(build, "compiler", lambda: ["/usr/bin/c++"])
    monkeypatch.setattr(cpp_extension, "is_ninja_available", lambda: False)
    assert build.obstacle() == "ninja is not on PATH: pip install ninja, in an active environment"


def test_a_build_that_fails_leaves_plain_pytorch(nothing_built, monkeypatch, capsys):
    def fails(*_, **__):
        raise RuntimeError("Error building extension\nmany lines")

    monkeypatch.setattr(build, "obstacle", lambda: None)
    monkeypatch.setattr(cpp_extension, "load", fails)
    assert build.library.__wrapped__() is None
    assert capsys.readouterr().err.endswith("instead of the CPU kernels: Error building extension\n")


def test_the_line_names_the_compilers_error():
    message = "Error building extension 'paceline_cpu': [1/14] c++\nkernel.cpp:3:5: error: no such type\nninja: stop"
    assert build.reason_of(RuntimeError(message)) == "kernel.cpp:3:5: error: no such type"
    assert build.reason_of(MemoryError()) == "MemoryError"


def test_a_library_that_does_not_load_leaves_plain_pytorch(nothing_built, capsys):
    build.path().parent.mkdir(parents=True)
    build.path().write_text("of another machine")
    assert build.built() is None
    assert capsys.readouterr().err.startswith("kernels.cpu: plain PyTorch runs instead of the CPU kernels: ")


@pytest.mark.parametrize(
    ("flags", "raised", "message"),
    [
        ({"avx"}, None, "this CPU has neither avx2 with fma nor avx512_bf16: it would run none of the kernels"),
        ({"avx512_bf16"}, RuntimeError("Error building\na.cpp:1:1: error: no AMX"), "a.cpp:1:1: error: no AMX"),
        (AVX2, PermissionError("the cache is read-only"), "the cache is read-only"),
        ({"avx512_bf16"}, ImportError("undefined symbol: GOMP_parallel"), "undefined symbol: GOMP_parallel"),
    ],
)
def test_the_command_ends_with_one_line_where_it_fails(nothing_built, monkeypatch, capsys, flags, raised, message):
    def fails():
        raise raised

    monkeypatch.setattr(build, "cpu_flags", lambda: frozenset(flags))
    monkeypatch.setattr(build, "obstacle", lambda: None)
    monkeypatch.setattr(build, "build", fails)
    assert build.main() == 2
    assert capsys.readouterr().err == f"kernels.cpu: {message}\n"


def test_what_is_built_is_found_again(nothing_built, monkeypatch):
    target = build.path()
    target.parent.mkdir(parents=True)
    target.touch()
    monkeypatch.setattr(cpp_extension, "load", None)
    assert build.obstacle() is None
    assert build.build() == target


def test_a_library_that_is_not_whole_is_not_found(nothing_built, monkeypatch):
    def load(name, sources, build_directory, **_):
        (Path(build_directory) / f"{name}.so").touch()
        assert not build.path().exists()
        assert build.built() is None

    monkeypatch.setattr(build, "obstacle", lambda: None)
    monkeypatch.setattr(cpp_extension, "load", load)
    assert build.build().exists()


def test_a_library_that_was_built_ahead_needs_no_compiler(nothing_built, monkeypatch):
    build.path().parent.mkdir(parents=True)
    build.path().touch()
    monkeypatch.setenv("CXX", "no-such-compiler")
    build.path.cache_clear()
    assert build.obstacle() is None


def test_the_place_depends_on_sources_and_cpu(nothing_built, monkeypatch, tmp_path):
    def place():
        build.path.cache_clear()
        return build.path()

    places = {place()}
    with monkeypatch.context() as patch:
        patch.setattr(build, "cpu_flags", lambda: AVX2 | {"of another cpu"})
        places.add(place())
    with monkeypatch.context() as patch:
        patch.setattr(build, "cpu_flags", lambda: AVX2 | {"avx512_bf16"})
        places.add(place())
    with monkeypatch.context() as patch:
        (tmp_path / "sources").mkdir()
        patch.setattr(build, "SOURCES", tmp_path / "sources")
        places.add(place())
    assert len(places) == 4
    assert place() in places


@pytest.mark.skipif(not build.is_possible(), reason="this CPU would run none of the kernels")
def test_the_command_names_what_is_missing(tmp_path):
    environment = {"PATH": "", "XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path), "PYTHONPATH": str(Path.cwd())}
    command = [sys.executable, "-m", "kernels.cpu.build"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "no C++ compiler was found" in ended.stderr


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        (AVX2, "avx2"),
        (AVX2 | {"avx512f"}, "avx2"),
        (AVX2 | {"avx512f", "avx512_bf16"}, "avx512_bf16"),
        ({"avx2"}, None),
        ({"avx512f"}, None),
        ((), None),
    ],
)
def test_the_instructions_that_the_kernels_are_compiled_for(monkeypatch, flags, name):
    monkeypatch.setattr(build, "cpu_flags", lambda: frozenset(flags))
    chosen = build.instructions()
    assert (chosen and chosen.name) == name
    assert build.is_possible() == (name is not None)


@pytest.mark.parametrize("chosen", build.INSTRUCTIONS, ids=lambda chosen: chosen.name)
def test_only_the_sources_of_the_instructions_are_compiled(chosen):
    folders = {source.parent for source in (*chosen.sources(), *chosen.headers())}
    assert folders == {build.SOURCES, build.SOURCES / chosen.name}
    assert [f"-I{folder}" for folder in sorted(folders)] == chosen.compiler_flags()[-2:]


def test_a_cpu_without_the_instructions_compiles_nothing(monkeypatch, capsys):
    monkeypatch.setattr(build, "cpu_flags", lambda: frozenset({"avx512f"}))
    monkeypatch.setattr(build, "library", None)
    monkeypatch.setattr(build, "built", None)
    assert fused.extension() is None
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("version", ["auto", "fast"])
def test_only_fast_compiles(nothing_built, monkeypatch, version):
    compiled = []
    monkeypatch.setattr(choice, "_version", version)
    monkeypatch.setattr(build, "is_possible", lambda: True)
    monkeypatch.setattr(build, "library", lambda: compiled.append(version))
    fused._ready.cache_clear()
    assert fused.extension() is None
    fused._ready.cache_clear()
    assert compiled == (["fast"] if version == "fast" else [])
