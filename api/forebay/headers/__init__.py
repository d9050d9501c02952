"""Reads the header of an image or a video, and as few of its other bytes as possible.

`forebay.headers.image_info` and `forebay.headers.video_info` return the size and shape of an image or a
video at a URI. A cached file is read from the volume; of a remote object only the parts are downloaded
that the format's reader asks for, such as the beginning or the index, and they are not cached.
"""
