"""Trees out of an executor: what to ask for, and writing what comes, as a directory, a tar archive or a repository."""
