"""Admission without a cluster: manifests in, verdicts out, and what would be provisioned."""
