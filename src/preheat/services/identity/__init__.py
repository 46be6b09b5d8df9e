"""STS and IAM, as far as a function's role needs them."""
