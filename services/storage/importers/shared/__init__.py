"""What importers share: how a file becomes parts, how parts get into the store, lines, cells, times, names, options."""
