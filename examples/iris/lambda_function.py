"""The Iris model as an AWS Lambda function: measurements in, species out.

Input, as an API Gateway proxy event's JSON body or as the event itself:
    {"values": [[sepal length, sepal width, petal length, petal width], ...]}   (cm)
"""

import base64
import json
from pathlib import Path

import joblib
import numpy as np

SPECIES = ("setosa", "versicolor", "virginica")
FEATURES = 4

# Loaded once per execution environment, while it initialises: this is what a cold start waits for.
model = joblib.load(Path(__file__).with_name("model.joblib"))


def predict(values):
    """Class index (0, 1, 2) of each row of four measurements."""
    return [int(label) for label in model.predict(np.asarray(values, dtype=float))]


def lambda_handler(event, context):
    """Answer 200 with the predictions, or 400 with one line that says what is wrong with the input."""
    try:
        values = read_values(event)
    except ValueError as error:
        return respond(400, {"error": str(error)})
    labels = predict(values)
    return respond(200, {"predictions": labels, "species": [SPECIES[label] for label in labels]})


def read_values(event):
    """The rows to predict, checked; raises ValueError with a message for the caller."""
    request = read_body(event) if isinstance(event, dict) and "body" in event else event
    if not isinstance(request, dict) or "values" not in request:
        raise ValueError('send a JSON object with "values": a list of rows of four numbers')
    values = request["values"]
    if not isinstance(values, list) or not values:
        raise ValueError('"values" must be a list of at least one row of four numbers')
    for number, row in enumerate(values):
        if not isinstance(row, list) or len(row) != FEATURES or not all(is_measurement(cell) for cell in row):
            raise ValueError(f'"values" row {number} must be four finite numbers (cm)')
    return values


def read_body(event):
    """The JSON document in a proxy event's body, which API Gateway may have base64-encoded."""
    body = event["body"]
    if not isinstance(body, str) or not body:
        raise ValueError("the request has no body")
    try:
        if event.get("isBase64Encoded"):
            body = base64.b64decode(body, validate=True).decode("utf-8")
        return json.loads(body)
    except ValueError as error:  # binascii.Error, UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise ValueError(f"the body is not JSON: {error}") from error


def is_measurement(cell):
    # bool is an int in Python; json.loads accepts NaN and Infinity, which a model does not.
    return isinstance(cell, (int, float)) and not isinstance(cell, bool) and abs(cell) <= 1e6


def respond(status, document):
    return {
        "statusCode": status,
        "headers": {"Content-Type": "application/json"},
        "body": json.dumps(document),
    }
