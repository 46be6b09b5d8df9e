"""Train the model that lambda_function.py serves: `python train.py` writes model.joblib (same bytes every time)."""

from pathlib import Path

import joblib
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression


def train():
    """A logistic regression on all 150 flowers; lbfgs is deterministic, no seed is needed."""
    flowers = load_iris()
    model = LogisticRegression(max_iter=1000)
    model.fit(flowers.data, flowers.target)
    return model, float(model.score(flowers.data, flowers.target))


if __name__ == "__main__":
    fitted, accuracy = train()
    path = Path(__file__).with_name("model.joblib")
    joblib.dump(fitted, path)
    print(f"{path.name}: {path.stat().st_size} bytes, accuracy on the training set {accuracy:.3f}")
