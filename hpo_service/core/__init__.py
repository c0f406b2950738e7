"""The domain: definitions, states, events, proposals, budget, cost, history. No I/O, no clock, no global randomness."""
