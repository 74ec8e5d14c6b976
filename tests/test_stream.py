"""Rows that are read as they are needed: the same as those in memory, each once an epoch, from any place on."""

import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vaekit.errors import UserError
from vaekit.training.data import Data, View, own_rows
from vaekit.training.stream import Streamed

ROW = 2 * 4 + 2 + 8  # bytes of one of these rows: x, mask and y


def made_up(rows: int) -> Data:
    x = torch.arange(2 * rows, dtype=torch.float32).view(rows, 2)
    return Data(x, torch.ones_like(x, dtype=torch.bool), {"label": torch.arange(rows)})


def streamed(groups: list[int], window: int) -> tuple[Data, Streamed]:
    data, ends = made_up(sum(groups)), np.cumsum(groups)

    def load(i: int) -> Data:
        return data[slice(int(ends[i] - groups[i]), int(ends[i]))]

    return data, Streamed(load, groups, int(window * ROW / 0.3) + 1, "made up", data.y)


def order_of(rows, seed, epoch, batch, mine=None):
    windows = rows.windows(seed, epoch)
    return own_rows(torch.cat(windows), windows, batch, mine or slice(0, batch))


sizes = st.lists(st.integers(1, 9), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(sizes, st.integers(9, 40), st.integers(1, 8), st.integers(0, 3), st.data())
def test_steps_find_the_rows_of_the_order_from_any_place_on(groups, window, batch, epoch, draw):
    data, rows = streamed(groups, window)
    batch = min(batch, len(data))
    some = torch.tensor(
        sorted(draw.draw(st.sets(st.integers(0, len(data) - 1), min_size=batch, max_size=len(data)))), dtype=torch.long
    )
    view = View(rows, some)
    order, ends = order_of(view, 0, epoch, batch)
    feed = view.feed()
    feed.begin(order, ends)
    steps = len(order) // batch
    first = draw.draw(st.integers(0, steps - 1))
    jumps = [*range(first, steps), *draw.draw(st.lists(st.integers(0, steps - 1), max_size=4))]
    for step in jumps:  # on, and then to wherever someone looks again
        found = feed.held[feed.at(step * batch, batch)]
        wanted = data[some[order[step * batch : (step + 1) * batch]]]
        assert torch.equal(found.x, wanted.x)
        assert torch.equal(found.y["label"], wanted.y["label"])
    feed.close()


@settings(max_examples=60, deadline=None)
@given(sizes, st.integers(9, 40), st.integers(0, 3))
def test_an_epoch_has_each_row_once_and_another_one_another_order(groups, window, epoch):
    data, rows = streamed(groups, window)
    order = torch.cat(rows.windows(7, epoch))
    assert torch.equal(order.sort().values, torch.arange(len(data)))
    assert torch.equal(order, torch.cat(rows.windows(7, epoch)))
    assert all(len(w) <= window for w in rows.windows(7, epoch))
    if len(data) > 30:
        assert not torch.equal(order, torch.cat(rows.windows(7, epoch + 1)))


@settings(max_examples=60, deadline=None)
@given(sizes, st.integers(9, 40), st.sampled_from([1, 2, 3]), st.integers(1, 3))
def test_processes_share_each_batch(groups, window, processes, share):
    data, rows = streamed(groups, window)
    batch = processes * share
    if batch > len(data):
        return
    whole, _ = order_of(rows, 0, 0, batch)
    parts = []
    for process in range(processes):
        order, ends = order_of(rows, 0, 0, batch, slice(process * share, (process + 1) * share))
        assert ends[-1] == len(order)
        assert sorted(ends) == ends
        parts.append(order.view(-1, share))
    assert torch.equal(torch.cat(parts, 1).flatten(), whole)


@settings(max_examples=40, deadline=None)
@given(sizes, st.integers(1, 7), st.data())
def test_rows_are_those_in_memory(groups, size, draw):
    data, rows = streamed(groups, 9)
    index = torch.tensor(draw.draw(st.lists(st.integers(0, len(data) - 1), max_size=9)), dtype=torch.long)
    assert torch.equal(rows[index].x, data.x[index])
    some = index.unique()
    for mine, whole in ((View(rows, some), View(data, some)), (rows, data)):
        pieces = list(mine.chunks(size))
        assert all(len(piece) <= size for piece in pieces)
        assert torch.equal(torch.cat([data.x[:0], *(piece.x for piece in pieces)]), whole[slice(None)].x)
    few = rows.few(5, seed=0)
    assert len(few) <= 5
    assert torch.equal(few.x, data[few.y["label"]].x)


def test_memory_that_holds_no_two_groups_is_refused():
    with pytest.raises(UserError, match=r"a group has 1,000 rows of 18 bytes; give --memory 58.7KiB or more"):
        streamed([1000, 10], 900)


def test_what_cannot_be_learned_from_is_named():
    _, rows = streamed([3, 4, 3], 20)

    def check(found: Data) -> None:
        if (found.x == 8).any():
            raise UserError("8 cannot be")

    rows.check = check
    order, ends = order_of(rows, 0, 0, 5)
    feed = rows.feed()
    feed.begin(order, ends)
    with pytest.raises(UserError, match="rows 3 to 6 of the source: 8 cannot be"):
        [feed.at(start, 5) for start in (0, 5)]


def test_no_thread_is_left():
    before = threading.active_count()
    _, rows = streamed([5] * 40, 20)
    feed = rows.feed()
    feed.begin(*order_of(rows, 0, 0, 10))
    feed.at(0, 10)
    feed.close()
    del feed
    assert threading.active_count() <= before
