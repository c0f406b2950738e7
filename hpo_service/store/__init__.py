"""Where the truth lives: SQLAlchemy tables, migrations and verbs; SQLite and PostgreSQL in lockstep."""
