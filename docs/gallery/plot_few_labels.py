"""
How many labels are enough?
===========================

Labels are expensive, and rows are cheap. This model learns from all rows, of which few have a label.
"""

# %%
# Of 1,400 digits, give 2, 5 or 10 of each class a label. The model trains on all 1,400. For comparison, two classifiers of scikit-learn
# learn from the labelled rows alone.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

import vaekit

digits = load_digits()
X, X_test, y, y_test = train_test_split(digits.images, digits.target, train_size=1400, random_state=0)
numbers = X_test.reshape(-1, 64) / 16
each = (2, 5, 10)


def choose(n, seed):
    """Indices of n random rows of each class."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.permutation(np.flatnonzero(y == label))[:n] for label in range(10)])


right = []
for n in each:
    few = np.full(len(y), -1)  # -1: the label is unknown
    few[choose(n, 0)] = y[choose(n, 0)]
    model = vaekit.SemiSupervisedVAE(epochs=40, learning_rate=3e-3, calibrate=False, sampler="prior", random_state=0)
    right.append(model.fit(X, few).score(X_test, y_test))

# %%
# Which rows have a label matters, so the classifiers learn from 20 draws of labelled rows. The model trains once for each number of
# labels, on the first draw.


def score_alone(classifier, rows):
    return classifier.fit(X[rows].reshape(-1, 64) / 16, y[rows]).score(numbers, y_test)


alone = {
    name: [[score_alone(classifier, choose(n, draw)) for draw in range(20)] for n in each]
    for name, classifier in (("SVM", SVC()), ("logistic regression", LogisticRegression(max_iter=2000)))
}

# %%
# The hollow markers are the classifiers on the first draw, for a fair comparison. The lines are means over the draws, and the bands reach from the worst to the best.

figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
labels = np.multiply(each, 10)
ax.plot(labels, right, "o-", color="C1", label="all rows, few labels (vaekit, one run)")
for (name, values), style, colour in zip(alone.items(), ("s--", "^:"), ("C0", "0.4"), strict=True):
    ax.plot(labels, np.mean(values, axis=1), style, color=colour, label=f"labelled rows alone ({name})")
    ax.fill_between(labels, np.min(values, axis=1), np.max(values, axis=1), color=colour, alpha=0.15, linewidth=0)
    ax.plot(labels, [value[0] for value in values], style[0], color=colour, fillstyle="none")
ax.set(xlabel="labels", ylabel="right on 397 other digits", xticks=labels, ylim=(None, 1))
ax.yaxis.set_major_formatter("{x:.0%}")
ax.legend(loc="lower right")
plt.show()
