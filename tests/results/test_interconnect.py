import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.interconnect import Link, fit

LINK = Link(latency=20e-6, seconds_per_byte=1e-9)


def test_two_processes_send_two_messages_of_half_the_bytes():
    assert LINK.all_reduce(2, 1e6) == pytest.approx(2 * (20e-6 + 0.5e6 * 1e-9))


def test_one_process_has_nothing_to_send():
    assert LINK.all_reduce(1, 1e6) == 0


def test_many_processes_send_twice_the_bytes_and_wait_for_many_messages():
    assert LINK.all_reduce(1000, 1e6) == pytest.approx(1998 * 20e-6 + 2 * 0.999e6 * 1e-9)


@given(st.floats(1e-7, 1e-2), st.floats(1e-12, 1e-7), st.sampled_from([2, 3, 8]))
def test_a_link_is_found_again_in_what_it_does(latency, seconds_per_byte, processes):
    link = Link(latency, seconds_per_byte)
    measured = [(processes, size, link.all_reduce(processes, size)) for size in (2**10, 2**16, 2**24)]
    found = fit(measured)
    for _, size, seconds in measured:
        assert found.all_reduce(processes, size) == pytest.approx(seconds, rel=1e-6)


def test_noise_makes_no_number_negative():
    found = fit([(2, 1024, 1e-4), (2, 2**22, 0.9e-4)])
    assert found.latency > 0
    assert found.seconds_per_byte >= 0


def test_what_is_not_enough_for_two_numbers_gives_none():
    assert fit([]) is None
    assert fit([(2, 1024, 1e-4), (1, 1024, 0.0)]) is None
