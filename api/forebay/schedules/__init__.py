"""Standing prefetches: jobs that the workers of a volume make again and again.

`definition` is what one is, `recurrence` when it is due, `clock` begins runs and looks after them, and
`standing` is what users hold.
"""
