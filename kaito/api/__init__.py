"""The Kubernetes API objects we read and write, as pydantic models."""
