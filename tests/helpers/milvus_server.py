"""Runs a Milvus server of the `milvus` package until its standard input ends.

    python milvus_server.py FOLDER

Prints its port once it answers. In a process of its own, so that neither its warnings nor its end
are those of the tests.
"""

import os
import pathlib
import socket
import sys

from milvus import MilvusServer, MilvusServerConfig


def main():
    """Starts the server in FOLDER, and stops it when nobody waits any more."""
    config = MilvusServerConfig(data_dir=sys.argv[1])
    names = [name for name in config.configurable_items if name.endswith("_port")]
    *ports, web_port, client_port, peer_port = free_ports(len(names) + 3)
    config.update(**dict(zip(names, ports)))
    # The store of keys within the server has ports of its own, set by a file of its own.
    keys = pathlib.Path(sys.argv[1]) / "etcd.yaml"
    keys.write_text(
        "name: default\n"
        f"listen-client-urls: http://127.0.0.1:{client_port}\n"
        f"advertise-client-urls: http://127.0.0.1:{client_port}\n"
        f"listen-peer-urls: http://127.0.0.1:{peer_port}\n"
        f"initial-advertise-peer-urls: http://127.0.0.1:{peer_port}\n"
        f"initial-cluster: default=http://127.0.0.1:{peer_port}\n"
    )
    os.environ["ETCD_CONFIG_PATH"] = str(keys)
    # A read waits until the server's clock has gone on: 200 ms unless told so.
    config.set("proxy.timeTickInterval", 20)
    server = MilvusServer(config)
    server.webservice_port = web_port
    server.start()
    try:
        print(server.listen_port, flush=True)
        sys.stdin.read()
    finally:
        server.stop()


def free_ports(count: int) -> list[int]:
    """Finds ports that nobody uses; a second server that starts just now finds others."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


if __name__ == "__main__":
    main()
