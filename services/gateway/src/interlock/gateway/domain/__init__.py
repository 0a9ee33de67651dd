"""What paths mean: pure, without protobuf or HTTP."""
