"""What takes minutes: run with `make slow`."""

import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier

import vaekit as vk
from conftest import real


@pytest.mark.slow
def test_class_conditioned_samples_are_of_their_class():
    """A classifier trained on real MNIST reads at least 97 % of the samples as the digit asked for."""
    data = vk.read(real("mnist/train-images-idx3-ubyte.gz"), conditions=["label"])
    labels = data.conditions["label"]

    def flat(x):
        return x.reshape(len(x), -1) / 255

    judge = MLPClassifier((256,), early_stopping=True, random_state=0).fit(flat(data.x), labels)
    cvae = vk.CVAE(network="mlp", size="large", likelihood="bernoulli", epochs=20).fit(data.x, labels)
    asked = np.repeat(np.arange(10), 200)
    assert (judge.predict(flat(cvae.sample(len(asked), y=asked).astype(float))) == asked).mean() >= 0.97
