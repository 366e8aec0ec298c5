"""The core: the life of a Workspace (and of a Machine) as pure functions over events."""
