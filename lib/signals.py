"""
Signals that ask a run to stop.

    kill -TERM PID    # the run of that process saves a checkpoint, and ends
"""
import signal

from data.datasets import SIGNALS


class StopSignals:
    """
    The names of the signals that have asked the run to stop; a second one of a kind ends the process at once.

    SIGINT is Ctrl-C, SIGTERM what schedulers send, SIGUSR1 and SIGUSR2 what Slurm can send before its limit,
    SIGHUP a closed terminal (ignored under nohup).
    """

    def __init__(self):
        self.received = []
        for name in SIGNALS:
            number = getattr(signal, name, None) # Windows lacks some
            if number and signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self.handle)

    def handle(self, number, frame):
        self.received.append(signal.Signals(number).name)
        signal.signal(number, signal.SIG_DFL)
