"""Azure's agent pools behind the `AgentPools` port; the only package that knows the Azure SDK."""
