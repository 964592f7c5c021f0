"""`kubectl mailpush credentials`: stored passwords put, tested, listed, deleted and imported, by the admin endpoint.

A password comes from standard input, a prompt or a file: never from the command line or the environment, which others
can read. None is ever printed.
"""
