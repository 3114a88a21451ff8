"""Runs as pages without a server: frozen, in a folder or in S3, and taken away again."""
