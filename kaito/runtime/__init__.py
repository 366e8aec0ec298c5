"""The reconcile runtime without threads, clocks or client libraries; drivers wrap it."""
