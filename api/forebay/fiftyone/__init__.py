"""FiftyOne on cloud media.

Importing this package switches the adapter on, in this process and in those that it starts: datasets
may hold ``s3://``, ``gs://`` and ``https://`` samples, and whatever reads their pixels reads them
through the cache. ``forebay fiftyone enable`` does it for every program of a user.

Raises:
    FiftyOneError: an ImportError: FiftyOne is not installed, or it is a version that the adapter does not
        know; FiftyOne is left as it was.
"""

from forebay.fiftyone.switch import switch_on

switch_on()
