"""Configuration: files to a checked plan."""
