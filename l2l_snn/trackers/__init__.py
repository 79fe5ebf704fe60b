"""Runs in MLflow, TensorBoard or Weights & Biases: live while they run, or from the store afterwards."""
