"""Floor 1: the AWS wire, driven by botocore's service models: parse, dispatch, validate, serialise."""
