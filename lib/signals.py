"""
Signals that ask a run to stop, and how all its processes learn of them.

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


def values_to_reduce(run, signals):
    """What the processes tell each other with the loss of an update: whether to stop, and rank 0's clock."""
    return [float(bool(signals.received)), run.clock.minutes if run.machine.is_master else 0.0] \
        if run.machine.world_size > 1 else []


def stop_and_minutes(run, signals):
    """(name of the signal that asks to stop or '', minutes of training), the same in all processes."""
    if run.machine.world_size == 1:
        return (signals.received + [''])[0], run.clock.minutes
    stop, minutes = run.monitor.shared or (0.0, run.state.minutes)
    return (signals.received + ['a signal'])[0] if stop else '', minutes
