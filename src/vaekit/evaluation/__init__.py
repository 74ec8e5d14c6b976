"""What a trained model is worth, in nats and in words."""

from vaekit.evaluation.health import verdict
from vaekit.evaluation.likelihood import evaluate, importance_weighted, shared_noise

__all__ = ["evaluate", "importance_weighted", "shared_noise", "verdict"]
