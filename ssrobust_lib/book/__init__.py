"""The book: its pages, the tables and sentences that they show, its rendering and its checks."""
