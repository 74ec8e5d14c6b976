"""What a trained model is worth: in nats, in distances of its samples, in the factors its code takes apart; in words."""

from vaekit.evaluation.disentanglement import disentanglement
from vaekit.evaluation.distances import compare, frechet_distance, kernel_distance, precision_recall
from vaekit.evaluation.features import FeatureNetwork, train_features
from vaekit.evaluation.health import verdict
from vaekit.evaluation.latent import latent_health
from vaekit.evaluation.likelihood import evaluate, importance_weighted, shared_noise

__all__ = [
    "FeatureNetwork",
    "compare",
    "disentanglement",
    "evaluate",
    "frechet_distance",
    "importance_weighted",
    "kernel_distance",
    "latent_health",
    "precision_recall",
    "shared_noise",
    "train_features",
    "verdict",
]
