"""What people share of their results: saved views."""
