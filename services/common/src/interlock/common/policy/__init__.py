"""Policies: rules in CEL over what a step asks for and what it did (docs/policy.md).

``parse_policy`` reads a document, ``check_policy`` lists everything wrong with it, ``named_policy`` gets a shipped one
or a file; ``Judge`` evaluates the rules of the policies in force. The language is in ``language``, what the rules come
to together in ``judge``, and the examples that a policy brings are run by ``examples``.
"""
