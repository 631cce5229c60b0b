"""A PostgreSQL and a Valkey of our own for the demo, the tests and `make serve`.

    with devstack(durable=False) as stack:      # 0.6 s, nothing to install or configure
        start_server(environ=stack.environ, log=stack.folder / "server.log")

Nothing here outlives the process that asked for it: not a child, not a temporary folder.

    errors      what can go wrong, each with the way out in its message
    folders     temporary folders that are known to be ours, and swept when their owner died
    signals     SIGINT, SIGTERM and SIGHUP become one exception, never in the middle of a clean-up
    processes   children that die with us
    listeners   a child that listens: choose a port, start, wait until it answers
    postgres, valkey, server    the three kinds of listener
    health      whether the server of a container answers
    stack       the two services together
    __main__    `python -m backend.devstack serve` and `run -- CMD`

No module here imports Django or its settings: the settings need what is started here.
"""
