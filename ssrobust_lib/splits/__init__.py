"""Who is trained on, validated on and tested on, and what a split leaks (paper, section 3.1)."""
