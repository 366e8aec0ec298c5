"""Questions asked of a log: pure functions over the records of one Workspace and of its Machines."""
