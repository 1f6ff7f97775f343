"""From scores to verdicts: paired tests, comparisons, claims, and the paper's own numbers (sections 3.2 to 3.4)."""
