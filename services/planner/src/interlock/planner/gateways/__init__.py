"""Model gateways: one small adapter per protocol behind one interface (``base.Gateway``)."""
