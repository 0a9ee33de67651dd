"""The pure state machine of runs: no I/O, no clock, no randomness.

`decide` turns a state and a command into events (or a typed refusal), `evolve` folds events into a state, and
`actions` says what a state wants done. A driver performs actions and feeds their results back as commands, so
that after a crash the state alone tells what has to be done again.
"""
