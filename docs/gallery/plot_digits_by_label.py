"""
Digits, one label at a time
===========================

A conditional VAE learns what handwritten digits look like, given their label. Then it draws new digits of each label.
"""

# %%
# The data are the 1,797 digits that come with scikit-learn, 8 by 8 pixels each. We keep 300 of them to test the result.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

import vaekit

digits = load_digits()
X, X_test, y, y_test = train_test_split(digits.images, digits.target, test_size=300, random_state=0)
cvae = vaekit.CVAE(size="small", epochs=150, random_state=0).fit(X, y)

# %%
# Draw 100 digits of each label. Are they what we asked for? A support vector machine that has learned from the real digits
# reads them. It also reads the real test digits, for comparison.

labels = np.repeat(np.arange(10), 100)
new = cvae.sample(1000, labels, random_state=0)

reader = SVC().fit(X.reshape(-1, 64), y)
right_new = reader.score(new.reshape(-1, 64), labels)
right_test = reader.score(X_test.reshape(-1, 64), y_test)
print(f"read as the right label: {right_new:.1%} of the new digits, {right_test:.1%} of the real test digits")

# %%
# Each row of the figure has one label. Real digits are on the left, new ones on the right.


def sheet(pictures, across):
    """Pictures (N, 8, 8) beside and below each other, with a margin of one pixel."""
    framed = np.pad(pictures, ((0, 0), (1, 1), (1, 1)))
    return framed.reshape(-1, across, 10, 10).swapaxes(1, 2).reshape(-1, across * 10)


real = np.concatenate([X[y == label][:6] for label in range(10)])
drawn = new.reshape(10, 100, 8, 8)[:, :8].reshape(-1, 8, 8)

figure, (left, right) = plt.subplots(1, 2, figsize=(6, 4.4), width_ratios=(6, 8), layout="constrained")
left.imshow(sheet(real, 6), cmap="gray_r", vmin=0, vmax=16)
right.imshow(sheet(drawn, 8), cmap="gray_r", vmin=0, vmax=16)
left.set_title("real")
right.set_title("drawn from the model")
left.set(xticks=[], yticks=np.arange(10) * 10 + 4.5, yticklabels=range(10), ylabel="label")
right.set(xticks=[], yticks=[])
plt.show()
