"""The faces of vaekit in Python, in the style of scikit-learn."""
