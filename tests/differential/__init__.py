"""Programs of API calls that the virtual API server and a real one must answer alike."""
