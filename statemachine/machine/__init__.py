"""The Machine aggregate: what the GPU provisioner does for one node."""
