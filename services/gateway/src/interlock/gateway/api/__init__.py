"""The rpcs and their HTTP bindings, read from the descriptors."""
