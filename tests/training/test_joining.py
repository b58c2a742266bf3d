"""Processes that do not find one another say so in one line, and soon."""

import concurrent.futures
import socket
import time

import pytest

from stvh_jax.errors import UserError
from stvh_jax.training import joining


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(joining, "SECONDS_TO_JOIN", 1)


@pytest.fixture
def port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def gather(port, count):
    return joining._gather(("127.0.0.1", port), count)


def report(port, count, number):
    return joining._report(("127.0.0.1", port), count, number)


def test_processes_join_and_strangers_do_not(port):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        gathered = pool.submit(gather, port, 3)
        time.sleep(0.1)
        with socket.create_connection(("127.0.0.1", port)) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
            lines = [pool.submit(report, port, 3, number) for number in (1, 2)]
            others, address = gathered.result()
            assert others.keys() == {1, 2}
            assert address.startswith("127.0.0.1:")
            for line in lines:
                line.result().close()
    for line in others.values():
        line.close()


@pytest.mark.parametrize(
    ("reports", "message"),
    [
        ([(2, 1)], "process 0 has --num_processes=3, process 1 2; give all the same number"),
        ([(3, 1), (3, 1)], "two processes have --process_id=1; give all the same number"),
        ([(3, 1)], "process 2 did not join within 1 seconds; start all 3 processes within"),
    ],
)
def test_processes_that_do_not_fit_are_told_all_the_same(reports, message, port):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        results = [pool.submit(gather, port, 3)]
        time.sleep(0.1)
        results += [pool.submit(report, port, *told) for told in reports]
        for result in results:
            with pytest.raises(UserError, match=f"^{message}[^\n]*$"):
                result.result()


def test_a_process_0_that_does_not_come(port):
    with pytest.raises(UserError, match=f"^process 0 does not listen at 127.0.0.1:{port} .Connec"):
        report(port, 2, 1)


def test_something_else_at_the_port(port):
    with socket.create_server(("127.0.0.1", port)) as other:
        with pytest.raises(UserError, match=f"^cannot listen at port {port} .Address already in"):
            gather(port, 2)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            result = pool.submit(report, port, 2, 1)
            line, _ = other.accept()
            line.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            with pytest.raises(UserError, match="does not answer as process 0 of a training"):
                result.result()
            line.close()


@pytest.mark.parametrize(
    ("coordinator", "count", "number", "message"),
    [
        ("here", 2, 0, "--coordinator=here is not HOST:PORT; give process 0's"),
        ("here:port", 2, 0, "--coordinator=here:port is not HOST:PORT"),
        ("here:70000", 2, 0, "--coordinator=here:70000 is not HOST:PORT"),
        ("here:1", 2, 2, "--process_id=2 is not one of --num_processes=2; they count from 0"),
    ],
)
def test_flags_that_cannot_be(coordinator, count, number, message):
    with (
        pytest.raises(UserError, match=f"^{message}"),
        joining.together(coordinator, count, number),
    ):
        pass
