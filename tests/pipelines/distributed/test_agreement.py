"""What processes agree upon before they train, and what is said when they do not."""

from dataclasses import dataclass

import pytest

from pipelines.distributed import failures, process_group
from pipelines.distributed.process_group import World
from pipelines.host import environment


@dataclass(frozen=True)
class Planted(World):
    """Rank 0, and what the others answer."""

    others: tuple = ()

    def gather(self, value):
        return [value, *self.others]


def test_facts_that_differ_are_named_with_both_values():
    facts = {"recipe": "a 1", "torch": "2.13.0"}
    process_group.check_alike(Planted(others=(facts, facts)), facts)
    with pytest.raises(ValueError, match=r"same torch: rank 0 has '2.13.0' and rank 2 has '2.12.0'"):
        process_group.check_alike(Planted(others=(facts, facts | {"torch": "2.12.0"})), facts)


def fail():
    raise ValueError("no data")


def test_what_fails_on_one_process_is_refused_on_all():
    assert Planted(size=2, others=(None,)).run_on_all(lambda: 7) == 7
    with pytest.raises(ValueError, match=r"^rank 1: disk full$"):
        Planted(size=2, others=("disk full",)).run_on_all(lambda: 7)
    with pytest.raises(ValueError, match=r"^rank 0: no data$"):
        Planted(size=2, others=(None,)).run_on_all(fail)
    with pytest.raises(ValueError, match=r"^no data$"):
        Planted(size=2, others=("no data",)).run_on_all(fail)


def test_ranks_keep_what_is_not_as_on_rank_0():
    first = {"device": "cuda:0", "machine_id": "m", "threads": {"intra_op": 1}}
    second = first | {"device": "cuda:1"}
    assert environment.of_ranks([first, second]) == [{"rank": 0}, {"rank": 1, "device": "cuda:1"}]


def test_the_code_s_digest_changes_with_the_code_and_nothing_else(tmp_path):
    for part in environment.CODE:
        (tmp_path / part).mkdir()
    (tmp_path / "bench" / "a.py").write_text("1")
    before = environment.code_digest(tmp_path)
    (tmp_path / "bench" / "a.txt").write_text("notes")
    source = tmp_path / "results" / "measured" / "a run" / "source"
    source.mkdir(parents=True)
    (source / "mine.py").write_text("")
    assert environment.code_digest(tmp_path) == before
    for name in ("bench/a.py", "kernels/b.cpp", "kernels/b.h"):
        (tmp_path / name).write_text("2")
        after = environment.code_digest(tmp_path)
        assert after != before, name
        before = after


NCCL = """NCCL error in: ../torch/csrc/distributed/c10d/NCCLUtils.hpp:268, invalid usage, NCCL version 2.27.5
ncclInvalidUsage: This usually reflects invalid usage of NCCL library.
Last error:
Duplicate GPU detected : rank 1 and rank 0 both on CUDA device 50000"""


def test_an_error_of_nccl_names_its_cause():
    line, cause = NCCL.splitlines()[0], NCCL.splitlines()[-1]
    for text in (NCCL, f"{NCCL}\nException raised from check at NCCLUtils.cpp:9\nframe #0: c10::Error"):
        assert process_group.summary_line(RuntimeError(text)) == f"{line}: {cause}"
    assert process_group.summary_line(RuntimeError(NCCL.removesuffix(cause))) == line


def test_the_error_of_a_lost_peer_is_told_from_one_s_own():
    lost = RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer")
    assert failures.is_of_a_peer(lost)
    assert not failures.is_of_a_peer(RuntimeError("out of memory"))
    assert failures.explain(World(), ZeroDivisionError("of one process\nC++ frames"), []) == (
        "ZeroDivisionError: of one process"
    )


def test_processes_on_unlike_machines_are_of_a_class_of_their_own():
    slow, fast, unknown = ({"machine_class": name} for name in ("a GPU", "another GPU", {"unknown": "no driver"}))
    assert environment.machine_class([fast, fast]) == "another GPU"
    assert environment.machine_class([slow, fast, slow]) == environment.machine_class([fast, slow])
    assert environment.machine_class([slow, fast]) == "a GPU and another GPU"
    assert environment.machine_class([slow, unknown]) == {"unknown": "no driver"}
