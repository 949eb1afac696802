"""Reading the facts that `coffre doctor` judges."""
