"""hpo-service: hyperparameter optimization studies as a service. The names here are the Python SDK's."""
