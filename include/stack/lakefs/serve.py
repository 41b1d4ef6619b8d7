"""Starts the server and says where it listens."""

import logging
import socket
import sys
import threading

from include.spec.errors import HeadraceError
from include.stack.lakefs.options import Options


class CannotListen(HeadraceError):
    """The address is taken or not ours."""


def serve(options: Options) -> None:
    """Run the server until it is told to stop (SIGTERM, SIGINT).

    Raises:
        CannotListen: The port is taken, or the host is not an address of this machine.
    """
    import uvicorn

    from include.stack.lakefs.app import make_app
    from include.stack.lakefs.quickstart import seed_quickstart
    from include.stack.lakefs.service import open_service

    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    listening = _listen(options)
    service = open_service(options)
    if options.quickstart:
        seed_quickstart(service)
    config = uvicorn.Config(
        make_app(service),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        # Clients of lakeFS keep connections for reuse: one that is closed under them fails a request.
        timeout_keep_alive=75,
        timeout_graceful_shutdown=10,
    )
    port = listening.getsockname()[1]
    sys.stdout.write(f"lake server: http://{options.host}:{port} ({options.blockstore} blockstore)\n")
    sys.stdout.flush()
    threading.Thread(target=_warm, args=(service.blockstore,), daemon=True).start()
    uvicorn.Server(config).run(sockets=[listening])


def _listen(options: Options) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((options.host, options.port))
    except OSError as error:
        listening.close()
        raise CannotListen(
            f"Cannot listen on {options.host}:{options.port}: {error.strerror}",
            remedy="Stop what has the port, or choose another with --port.",
        ) from error
    listening.listen(2048)
    listening.set_inheritable(True)
    return listening


def _warm(blockstore: object) -> None:
    """Make the S3 client before the first request needs it; it takes a third of a second."""
    getattr(blockstore, "client", None)
