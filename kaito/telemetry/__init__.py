"""What a process tells of itself: metrics, probes, and Events about the objects it works on.

Nothing is counted by hand in the reconcile code. What happened to Workspaces and Machines is read from the
events as they are appended to the log; how busy the process is, from the queue, the HTTP client and the log
around it. All of it hangs on one object per process, `kaito.telemetry.processes`.
"""
