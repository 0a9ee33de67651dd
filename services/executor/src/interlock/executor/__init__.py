"""The executor: workspaces on disk, snapshots, sandboxes; prepares and publishes effects."""

import os

# gRPC hooks itself into fork() and its hooks crash the child, by SIGSEGV before it becomes the runner, while other
# threads use gRPC. Nothing here uses gRPC after a fork. It is read when grpc is first imported.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
