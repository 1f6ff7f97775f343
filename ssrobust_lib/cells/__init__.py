"""What each kind of cell computes: `compute(study, cell, folder)` fills a folder; the store makes it a result."""
