"""Training networks: batches, losses, the loop, the pretext task, fine-tuning, transfer (paper, sections 2 and 3.1)."""
