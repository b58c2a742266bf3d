"""Joining several processes in one training, and ending them all when one of them ends.

Process 0 listens at the coordinator's address. Each of the others keeps one connection open for as
long as it trains: if that closes without a goodbye, a process is dead. JAX would notice this after
minutes, or abort the program with a trace as soon as it has lost its coordinator. So what JAX says
to the coordinator goes through connections of ours, of which it sees an end that stays open.
"""

import contextlib
import json
import os
import re
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator

import jax

from stvh_jax import files, interrupts
from stvh_jax.console import error_line
from stvh_jax.errors import UserError

# How long the processes wait for one another at the start.
SECONDS_TO_JOIN = 45
# A process that stops for a reason of its own says so within this time, before others speak.
_SECONDS_TO_SAY_WHY = 2
_GOODBYE = b"goodbye\n"


@contextlib.contextmanager
def together(coordinator: str, num_processes: int, process_id: int) -> Iterator[None]:
    """Joins this process with the others for as long as the context.

    Where one of them dies, the others end within seconds with one line and status 2. An error in
    the context ends the program as well, at once: nobody would answer its last words.

    Args:
      coordinator: host:port, where process 0 listens.
      num_processes: how many processes there are.
      process_id: which of them this is, from 0.

    Raises:
      UserError: the processes do not find one another, or differ in how many they are.
    """
    place = _parse(coordinator, num_processes, process_id)
    if process_id == 0:
        others, address = _gather(place, num_processes)
    else:
        others = {0: _report(place, num_processes, process_id)}
        address = _tunnel(place)
    ended = threading.Event()
    for other, line in others.items():
        threading.Thread(target=_watch, args=(line, other, ended), daemon=True).start()
    with _ending_all(others, ended):
        try:
            jax.distributed.initialize(
                address,
                num_processes,
                process_id,
                coordinator_bind_address=address,
                initialization_timeout=SECONDS_TO_JOIN,
            )
        except RuntimeError as error:
            raise UserError(f"the processes cannot be joined ({files.reason(error)})") from error
        yield


def _parse(coordinator: str, num_processes: int, process_id: int) -> tuple[str, int]:
    host, _, port = coordinator.rpartition(":")
    if not host or not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 1 << 16:
        raise UserError(f"--coordinator={coordinator} is not HOST:PORT; give process 0's")
    if not 0 <= process_id < num_processes:
        raise UserError(
            f"--process_id={process_id} is not one of --num_processes={num_processes}; they count "
            "from 0"
        )
    return host.strip("[]"), int(port)


def _gather(place: tuple[str, int], num_processes: int) -> tuple[dict[int, socket.socket], str]:
    """Waits in process 0 for the others, and opens the way to JAX's coordinator for them.

    Returns:
      The connection to each of them, and the address of JAX's coordinator.
    """
    try:
        family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
        listener = socket.create_server(
            ("", place[1]), family=family, dualstack_ipv6=family == socket.AF_INET6
        )
    except OSError as error:
        raise UserError(
            f"cannot listen at port {place[1]} ({files.reason(error)}); give another in "
            "--coordinator, to every process"
        ) from error
    others: dict[int, socket.socket] = {}
    try:
        _accept_all(listener, others, num_processes)
    except UserError as error:
        _say(others, json.dumps({"error": str(error)}).encode() + b"\n")
        for line in (listener, *others.values()):
            line.close()
        raise
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    threading.Thread(target=_serve, args=(listener, address), daemon=True).start()
    _say(others, b'{"go": true}\n')
    return others, address


def _accept_all(
    listener: socket.socket, others: dict[int, socket.socket], num_processes: int
) -> None:
    """Accepts every other process, and nothing else that may come to the port."""
    deadline = time.monotonic() + SECONDS_TO_JOIN
    while len(others) < num_processes - 1:
        listener.settimeout(max(deadline - time.monotonic(), 0.01))
        try:
            line, _ = listener.accept()
        except TimeoutError as error:
            absent = sorted(set(range(1, num_processes)) - others.keys())
            raise UserError(
                f"process {', '.join(map(str, absent))} did not join within {SECONDS_TO_JOIN} "
                f"seconds; start all {num_processes} processes within that time"
            ) from error
        line.settimeout(2)
        told = _read(line)
        number, count = told.get("process"), told.get("processes")
        if type(number) is not int or type(count) is not int:
            line.close()
            continue
        if count != num_processes or number in others:
            mistake = f"process 0 has --num_processes={num_processes}, process {number} {count}"
            if count == num_processes:
                mistake = f"two processes have --process_id={number}"
            others[-1] = line
            raise UserError(f"{mistake}; give all the same number, and each its own id")
        others[number] = line


def _report(place: tuple[str, int], num_processes: int, process_id: int) -> socket.socket:
    """Reports to process 0 and waits until all have."""
    name = "{}:{}".format(*place)
    deadline = time.monotonic() + SECONDS_TO_JOIN
    while True:
        try:
            line = socket.create_connection(place, timeout=5)
            break
        except OSError as error:
            if time.monotonic() > deadline:
                raise UserError(
                    f"process 0 does not listen at {name} ({files.reason(error)}); start it within "
                    f"{SECONDS_TO_JOIN} seconds, with the same --coordinator"
                ) from error
            time.sleep(0.2)
    told = {"process": process_id, "processes": num_processes}
    _say({0: line}, json.dumps(told).encode() + b"\n")
    line.settimeout(deadline + 10 - time.monotonic())
    answer = _read(line)
    if "go" not in answer:
        line.close()
    if "error" in answer:
        raise UserError(str(answer["error"]))
    if "go" not in answer:
        raise UserError(
            f"{name} does not answer as process 0 of a training; see what process 0 says, and "
            "whether this is its --coordinator"
        )
    return line


def _read(line: socket.socket) -> dict:
    """Reads one line of JSON; what is none, or does not come in time, is {}."""
    content = b""
    try:
        while not content.endswith(b"\n") and len(content) < 1000:
            byte = line.recv(1)
            if not byte:
                break
            content += byte
        told = json.loads(content)
        return told if isinstance(told, dict) else {}
    except (OSError, ValueError, RecursionError):
        return {}


def _say(lines: dict[int, socket.socket], words: bytes) -> None:
    """Says something to each of the others; who is gone does not hear it."""
    for line in lines.values():
        with contextlib.suppress(OSError):
            line.sendall(words)


def _tunnel(place: tuple[str, int]) -> str:
    """Opens an address in this process that leads to JAX's coordinator through process 0's port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            near, _ = listener.accept()
            with contextlib.suppress(OSError):
                far = socket.create_connection(place, timeout=10)
                far.settimeout(None)
                far.sendall(b'{"tunnel": true}\n')
                # The near end stays open when the far one closes: JAX is not to see it.
                _pump(far, near, close=False)
                _pump(near, far, close=True)

    threading.Thread(target=serve, daemon=True).start()
    return f"127.0.0.1:{listener.getsockname()[1]}"


def _serve(listener: socket.socket, address: str) -> None:
    """Leads the tunnels of the others to JAX's coordinator, which listens in this process."""
    host, port = address.split(":")
    listener.settimeout(None)
    while True:
        far, _ = listener.accept()
        far.settimeout(2)
        if "tunnel" not in _read(far):
            far.close()
            continue
        far.settimeout(None)
        with contextlib.suppress(OSError):
            near = _connect_when_open((host, int(port)))
            _pump(far, near, close=True)
            _pump(near, far, close=True)


def _connect_when_open(place: tuple[str, int]) -> socket.socket:
    """Connects to the coordinator, which may still be starting."""
    for _ in range(100):
        with contextlib.suppress(ConnectionRefusedError):
            return socket.create_connection(place)
        time.sleep(0.1)
    raise TimeoutError


def _pump(source: socket.socket, sink: socket.socket, *, close: bool) -> None:
    """Passes on what comes, in a thread."""

    def pump():
        with contextlib.suppress(OSError):
            while content := source.recv(1 << 16):
                sink.sendall(content)
        if close:
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)

    threading.Thread(target=pump, daemon=True).start()


def _watch(line: socket.socket, other: int, ended: threading.Event) -> None:
    """Ends this process soon after another has ended without a goodbye."""
    line.settimeout(None)
    # A machine that is cut off closes nothing.
    line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, option):
            line.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    heard = b""
    with contextlib.suppress(OSError):
        while content := line.recv(64):
            heard += content
    if heard != _GOODBYE and not ended.wait(_SECONDS_TO_SAY_WHY):
        _end(error_line(f"process {other} of this training has ended; the same commands resume"), 2)


@contextlib.contextmanager
def _ending_all(others: dict[int, socket.socket], ended: threading.Event) -> Iterator[None]:
    """Says goodbye at the end, or ends the program at an error.

    At an error JAX would wait for the other processes, which will not answer.
    """
    try:
        yield
    except KeyboardInterrupt:
        interrupts.end()
    except (UserError, OSError) as error:
        _end(error_line(error), 2)
    except Exception:
        # If another has died, which makes all that is shared fail, the watch says so.
        time.sleep(2 * _SECONDS_TO_SAY_WHY)
        _end(traceback.format_exc(), 1)
    finally:  # all have agreed to stop, or are done
        ended.set()
        _say(others, _GOODBYE)


def _end(words: str, status: int) -> None:
    sys.stdout.flush()
    os.write(2, f"{words}\n".encode())
    os._exit(status)
