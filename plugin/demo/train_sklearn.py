"""A small sweep with scikit-learn's bundled data sets and MLflow's autologging."""

from __future__ import annotations

import warnings
from typing import Any

import mlflow
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

DATA_SETS = {"breast-cancer": load_breast_cancer, "digits": load_digits, "wine": load_wine}


def models(seed: int) -> dict[str, Any]:
    """Return the models of the sweep, fresh ones."""
    return {
        "logistic": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1_000)),
        "forest": RandomForestClassifier(n_estimators=60, random_state=seed),
        "boosting": GradientBoostingClassifier(n_estimators=12, max_depth=2, random_state=seed),
    }


def main() -> None:
    """Train every model on every data set, one run each."""
    # MLflow 3.17's autologging calls scikit-learn 1.9 by an argument's old name.
    warnings.filterwarnings("ignore", "`y_pred` was renamed", FutureWarning)
    mlflow.set_experiment("demo-sklearn")
    # Saving a model makes MLflow work out its requirements in a new process, 10 s each time.
    mlflow.sklearn.autolog(log_models=False)
    for data_name, load in DATA_SETS.items():
        features, labels = load(return_X_y=True)
        split = train_test_split(features, labels, test_size=0.3, random_state=0, stratify=labels)
        train_x, test_x, train_y, test_y = split
        for model_name, model in models(seed=0).items():
            with mlflow.start_run(run_name=f"{data_name}-{model_name}"):
                mlflow.set_tags({"data_set": data_name, "family": model_name})
                model.fit(train_x, train_y)
                accuracy = model.score(test_x, test_y)
                mlflow.log_metric("test_accuracy", accuracy)
            print(f"{data_name:>14} {model_name:<9} test accuracy {accuracy:.3f}")


if __name__ == "__main__":
    main()
