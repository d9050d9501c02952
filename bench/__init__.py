"""How fast Forebay is, beside other tools and against its own budgets: ``python -m bench --help``."""
