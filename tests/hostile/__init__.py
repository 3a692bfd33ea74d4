"""Hostile files, made on purpose."""
