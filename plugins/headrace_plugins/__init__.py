"""The built-in plugins. Each is found through the entry-point group ``headrace``, as a stranger's is."""
