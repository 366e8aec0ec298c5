"""The laboratory: the operator's own reconcile code over a virtual cluster, in virtual time, from a seed."""
