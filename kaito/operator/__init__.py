"""The workspace operator as a process: the settings of the published manager and ours, and the wiring."""
