"""Histograms of tensors by step: written as bytes, stored and read (free of MLflow)."""
