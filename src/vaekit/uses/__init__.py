"""What you can do with a trained model."""
