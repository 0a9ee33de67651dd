"""Network for steps that name hosts: one allowlisting proxy process per step, and nothing else.

`config` is what this executor allows, `link` its side of a step's proxy. `agent` is the proxy's process: it and what
it imports (`rules`, `hosts`, `addresses`, `heads`, `names`, `greeting`, `relay`, `proxy`, `inside`) use the standard
library alone.
"""
