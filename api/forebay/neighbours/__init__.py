"""Taking objects from the other volumes of a group, in place of downloading each once more.

`neighbourhood` decides for each object whether a neighbour has it, or which one is to bring it;
`asking_turns` asks those that are to bring some; `neighbour_source` reads from one, as a source like any
other. `turns` says whose turn an object is, and `ways` keeps what was decided.
"""
