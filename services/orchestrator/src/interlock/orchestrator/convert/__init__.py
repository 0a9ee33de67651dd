"""The only modules of the orchestrator that know both the protos and the domain.

`inputs`: requests → domain. `results`: answers of executor and planner → domain. `views`: domain → responses.
`texts`: long texts that events refer to by digest.
"""
