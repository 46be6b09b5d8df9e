"""Load test of the Iris function: every user asks for one prediction, then waits 3 to 5 seconds.

locust -f locustfile.py --host https://<api id>.execute-api.us-east-1.amazonaws.com --users 100 --headless
"""

import logging
import os
import random

from locust import HttpUser, between, task

FUNCTION_NAME = os.environ.get("FUNCTION_NAME", "iris")

# Three flowers of each species, from the Iris data set (cm).
FLOWERS = [
    [5.1, 3.5, 1.4, 0.2],
    [4.9, 3.0, 1.4, 0.2],
    [5.8, 4.0, 1.2, 0.2],
    [7.0, 3.2, 4.7, 1.4],
    [5.9, 3.0, 4.2, 1.5],
    [5.7, 2.8, 4.1, 1.3],
    [6.3, 3.3, 6.0, 2.5],
    [6.7, 3.0, 5.2, 2.3],
    [5.9, 3.0, 5.1, 1.8],
]


class IrisUser(HttpUser):
    wait_time = between(3, 5)

    @task
    def predict(self):
        response = self.client.post(f"/default/{FUNCTION_NAME}", json={"values": [random.choice(FLOWERS)]})
        logging.info("Response time: %.2f ms", response.request_meta["response_time"])
        logging.info("Response status code: %s", response.status_code)
        logging.info("Response text: %s", response.text)
