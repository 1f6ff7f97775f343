"""Scoring trained networks: conditions, inference, what is stored per sample, metrics (paper, sections 3.2 to 3.4)."""
