"""The rows of the benchmark: what is compared with what, and the budgets."""
