"""Serve a model as an AWS Lambda function, see what its cold starts cost, and remove them."""

__version__ = "0.1.0"
