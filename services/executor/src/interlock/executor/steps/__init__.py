"""How each kind of step computes its effect. One file a kind; every one has the interface of `base.Step`."""
