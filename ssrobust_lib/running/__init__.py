"""From a profile to finished cells: checks, plan, the workflow and its warm processes, rehearsals."""
