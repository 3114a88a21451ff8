"""What runs printed: lines as records bring them, rows that hold them, and reading."""
