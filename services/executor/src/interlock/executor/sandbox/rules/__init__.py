"""The supervisor of steps that are confined by rules (Landlock, a system call filter) and not by namespaces.

It is a program of its own that imports nothing but the standard library: it starts once per step.
"""
