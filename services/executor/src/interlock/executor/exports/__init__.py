"""Trees out of the store in forms other programs read: tar archives and streams for `git fast-import`."""
