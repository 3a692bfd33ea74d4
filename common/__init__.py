"""Leaf modules every command leans on: errors in one line, files that are never half written."""
