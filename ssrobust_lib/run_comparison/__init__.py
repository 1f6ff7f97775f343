"""Two runs side by side: how their set-ups differ, what changed in the results, by how much, within noise or not.

Enters: folders of finished runs, also of another commit, profile, data set or machine. Leaves: tables, a page, and
text for the terminal. The paper compares no runs; this puts its sections 3.2 to 3.4, done twice, beside each other.
"""
