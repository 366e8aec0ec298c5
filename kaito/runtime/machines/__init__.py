"""The provisioner's half of the runtime: Machines, their agent pools and their nodes."""
