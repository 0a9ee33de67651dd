"""The executor: workspaces on disk, snapshots, sandboxes; prepares and publishes effects."""
