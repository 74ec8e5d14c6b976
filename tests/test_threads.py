"""Work on all cores: the results are in order, few of them wait, and an error is raised where its result would be."""

import time

import pytest

from vaekit.threads import AHEAD, OnAllCores


def test_results_are_in_the_order_of_the_items():
    def slow(i):
        time.sleep(0.01 * (i % 3))
        return i * i

    work = OnAllCores(slow, range(40))
    assert len(work) == 40
    assert list(work) == [i * i for i in range(40)]
    assert list(OnAllCores(slow, range(40), 7)) == [i * i for i in range(40)]
    assert list(OnAllCores(slow, [])) == []


def test_few_results_wait_until_they_are_taken(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    begun = []
    results = iter(OnAllCores(begun.append, range(100), 3))
    next(results)
    time.sleep(0.05)
    assert len(begun) == 2 * AHEAD * 3
    results.close()
    assert len(begun) == 2 * AHEAD * 3


def test_not_ahead_nothing_is_done_while_results_are_taken(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1}, raising=False)
    for waiting, at_once in ((None, 2), (1, 1)):
        begun = []
        results = iter(OnAllCores(lambda i, begun=begun: begun.append(i) or i, range(5), waiting=waiting, ahead=False))
        for taken in range(5):
            assert next(results) == taken
            time.sleep(0.01)
            assert len(begun) == min(5, (taken // at_once + 1) * at_once)


@pytest.mark.parametrize("ahead", [True, False])
def test_an_error_is_raised_after_the_results_before_it(ahead):
    results = iter(OnAllCores(lambda i: 1 // (3 - i), range(9), ahead=ahead))
    assert [next(results) for _ in range(3)] == [0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
