"""What every rpc of every service passes through, one layer a file. `chain` composes them.

The order, outermost first: tracing, access log, errors, authentication, codec, validation, handler.
"""
