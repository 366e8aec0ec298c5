"""The virtual Azure Resource Manager: agent pools of one cluster, in virtual time, and all that fails."""
