"""The `interlock` command. Nothing here is imported by the services or the SDK."""
