"""One module a revision of the ``weir_*`` tables."""
