"""Ctrl-C in a program: obeyed within two seconds, whatever the program is doing.

Python looks at signals between two of its own steps, and one call into a library may last minutes:
a compilation, or the wait for a batch. So a thread hears of Ctrl-C as well, and ends the program
where it has not ended by itself soon after. That is safe: whatever is written takes its name once
it is whole, and locks are freed by the system.
"""

import os
import signal
import sys
import threading
import time

STATUS = 128 + signal.SIGINT
# With the time that the end of the program takes, less than two seconds.
_SECONDS_TO_END = 1.5

_obeyed = _received = _said = False
_answer = ""


def obey() -> None:
    """Has Ctrl-C end this program within two seconds; call it in the main thread, once or more."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return  # it is obeyed already, or ignored, as by nohup
    global _obeyed
    _obeyed = True
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGINT, _interrupt)
    sys.excepthook = _report
    sys.unraisablehook = _report_ignored
    threading.Thread(target=_watch, args=(reader,), daemon=True).start()


def received() -> bool:
    """Says whether Ctrl-C has been heard: an error after it may come from the interruption."""
    return _received


def answer_first(words: str) -> None:
    """Has the next Ctrl-C answered at once by a line, and not end the program; "" to undo this.

    Whoever calls it handles the signal, and ends the program when it has put things in order.
    """
    global _answer
    _answer = words


def _interrupt(number, frame):
    global _received
    del number
    _received = True
    while frame:
        # An exception in the middle of an import comes out as another one, or aborts a library.
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            end()
        frame = frame.f_back
    raise KeyboardInterrupt


def _report(kind, error, trace):
    """Prints an error that nobody has caught, such as one in the middle of an import."""
    if _received or issubclass(kind, KeyboardInterrupt):
        end()
    sys.__excepthook__(kind, error, trace)


def _report_ignored(unraisable):
    """Ends the program where Python would ignore Ctrl-C: at its end, as it waits for threads."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        end()
    sys.__unraisablehook__(unraisable)


def _watch(reader: int) -> None:
    global _answer
    while number := os.read(reader, 1):
        if number[0] != signal.SIGINT:
            continue
        if _answer:
            os.write(2, f"{_answer}\n".encode())
            _answer = ""
            continue
        time.sleep(_SECONDS_TO_END)
        end()


def first_to_say() -> bool:
    """Says whether nobody has reported the interruption yet; whoever asks does so now."""
    global _said
    first, _said = not _said, _obeyed
    return first


def end() -> None:
    """Ends the program at once, as interrupted."""
    if first_to_say():
        os.write(2, b"interrupted\n")
    os._exit(STATUS)
