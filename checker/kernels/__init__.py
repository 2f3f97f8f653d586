"""Compiled searches over integer arrays. See `checker.kernels.layout` for what the arrays mean."""
