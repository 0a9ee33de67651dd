"""A small process that starts the processes of steps in the executor's place.

Forking the executor itself costs more the more memory it has, a step's uid and control group can be had for little
only by a process that is about to become the step, and the supervisor of the landlock sandbox is an interpreter that
takes longer to start than most commands run. So one process per executor, which runs nothing and keeps nothing of a
step, stands ready with what is needed, and forks: what it forks is a child of the executor, not of it.

`client` is the executor's side, `program` is what runs in that process; it imports nothing but the standard library.
"""
