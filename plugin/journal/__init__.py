"""The crash-safe log, kept on the training's machine, of what is not delivered yet."""
