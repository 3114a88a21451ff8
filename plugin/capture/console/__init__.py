"""What a training prints: a pump beside it passes it on at once, and keeps it."""
