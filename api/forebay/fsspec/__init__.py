"""The cache as a file system of fsspec: ``fsspec.open("forebay://s3/bucket/key")``.

fsspec finds it by entry points of this package, and loads it when a path first names the protocol.
"""
