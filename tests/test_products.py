"""Products of 32 bits keep them, whichever library computes them, and the process is as it was."""

import threading

import pytest
import torch

from vaekit.training.products import are_exact, inference, mkldnn, quick_products


@pytest.mark.parametrize("shape", [(1, 3, 2), (64, 256, 10), (128, 784, 512)])
def test_they_are_as_exact_as_before(shape):
    rows, inner, columns = shape
    a, b = torch.randn(rows, inner), torch.randn(columns, inner)
    exact = a.double() @ b.double().T
    before = (a @ b.T - exact).abs().max()
    with quick_products():
        after = (a @ b.T - exact).abs().max()
    assert after <= 4 * before + 1e-6


def test_the_setting_is_put_back():
    before = mkldnn.matmul.fp32_precision
    with quick_products(), inference(), inference():
        assert not torch.is_grad_enabled()
        if are_exact():
            assert mkldnn.matmul.fp32_precision == "bf16"
    assert torch.is_grad_enabled()
    assert mkldnn.matmul.fp32_precision == before
    assert torch.get_float32_matmul_precision()  # which raises where the settings contradict each other


def test_the_last_of_several_threads_puts_it_back():
    before, ready, leave = mkldnn.matmul.fp32_precision, threading.Barrier(3), threading.Barrier(3)

    def work():
        with inference():
            ready.wait()
            leave.wait()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    with quick_products():
        ready.wait()
        leave.wait()
    for thread in threads:
        thread.join()
    assert mkldnn.matmul.fp32_precision == before


@inference()
def pieces():
    yield torch.is_grad_enabled()


def test_it_works_on_generators():
    assert list(pieces()) == [False]
    assert torch.is_grad_enabled()
