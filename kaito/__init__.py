"""The operator: API models, the reconcile runtime, and the `kaito` command."""
