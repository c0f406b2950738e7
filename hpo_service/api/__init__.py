"""The REST service: routes, schemas, guards. Decides nothing and knows no SQL: verbs of `store` and `decider` do."""
