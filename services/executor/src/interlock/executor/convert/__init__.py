"""Between the wire and the domain: the only package that knows both."""
