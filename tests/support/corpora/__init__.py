"""Secrets and their look-alikes, written by somebody who has not seen the redactor."""
