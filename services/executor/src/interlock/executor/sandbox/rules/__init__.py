"""The supervisor of steps that are confined by rules (Landlock, a system call filter) and not by namespaces.

It imports nothing but the standard library and has the nursery's memory: a process of it begins with every step.
"""
