"""That everything local stays as it was: named calls over local samples, recorded with the adapter on
and off.

``python -m tests.fiftyone.parity MEDIA DIRECTORY`` makes every call and prints what came of it as JSON;
`tests.fiftyone.test_parity` compares. No module here imports FiftyOne at its top.
"""
