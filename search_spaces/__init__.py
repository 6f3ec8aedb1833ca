"""The search spaces that come with nas, and the blocks they are written in: examples to use and to copy.

A space is named `search_spaces.MODULE:space`; published networks are architectures in the same modules,
such as `search_spaces.mobile:mobilenet_v2`.
"""
