"""Five strengths per corruption: the paper's rule, the search, published and shared ones (paper, section 3.3)."""
