"""What runs beside the user's training: adapts MLflow to the store."""
