"""Which processes share a machine."""

import pytest

from pipelines.host import machine


@pytest.fixture
def host(monkeypatch, tmp_path):
    """Makes this process one of a host of this name, boot and namespace."""

    def be(name, boot="b1", namespace="pid:[1]"):
        monkeypatch.setattr(machine.platform, "node", lambda: name)
        for number, (constant, text) in enumerate((("BOOT", boot), ("PROCESS_NUMBERS", namespace))):
            path = tmp_path / f"{number}"
            path.unlink(missing_ok=True)
            monkeypatch.setattr(machine, constant, path)
            if text and constant == "BOOT":
                path.write_text(f"{text}\n")
            elif text:
                path.symlink_to(text)
        return machine.machine(), machine.process_table()

    return be


def test_two_machines_may_have_one_name(host):
    (one, table), (other, other_table) = host("node"), host("node", boot="b2")
    assert one != other
    assert table != other_table


def test_the_containers_of_a_machine_share_it_and_do_not_see_each_other(host):
    (one, table), (other, other_table) = host("first"), host("second", namespace="pid:[2]")
    assert one == other
    assert table != other_table
    assert host("first") == (one, table)


def test_without_linux_the_name_is_what_there_is(host):
    assert host("first", boot=None, namespace=None)[0] == "first"
    assert len({host(name, boot=None, namespace=None) for name in ("first", "first", "second")}) == 2
