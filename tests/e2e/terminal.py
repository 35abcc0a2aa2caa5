# SPDX-License-Identifier: Apache-2.0
#
# terminal.py COMMAND...: COMMAND, followed by `-- sh -c SCRIPT`, on a terminal of its own, in the place of a job of a shell:
# what is typed, ^C, ^Z, fg and a new size of the window must be as without the fence.
import errno
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time

LIMIT_S = 60  # the machine may be busy


def shell(report, argv):
    """The session leader: one job in the foreground; "stopped", and at each SIGUSR1 it is given the terminal again."""
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    job = os.fork()
    if job == 0:
        os.setpgid(0, 0)
        os.tcsetpgrp(0, os.getpid())
        for one in (signal.SIGTTOU, signal.SIGINT, signal.SIGQUIT):  # a shell ignores the last two in the background
            signal.signal(one, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
        os.execv(argv[0], argv)
    while True:
        _, status = os.waitpid(job, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            os.write(report, b"exit %d\n" % (os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)))
            os._exit(0)
        os.tcsetpgrp(0, os.getpgrp())
        os.write(report, b"stopped\n")
        signal.sigwait({signal.SIGUSR1})
        os.tcsetpgrp(0, job)
        os.kill(-job, signal.SIGCONT)


class Terminal:
    def __init__(self, argv):
        ours, theirs = os.pipe()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            shell(theirs, argv)
        os.close(theirs)
        self.report = ours
        self.screen = b""
        self.told = b""

    def wait(self, what, where="screen"):
        end = time.monotonic() + LIMIT_S
        while what not in getattr(self, where):
            ready, _, _ = select.select([self.fd, self.report], [], [], max(0, end - time.monotonic()))
            if not ready:
                raise SystemExit(f"no {what!r} on the {where}: {self.screen!r} {self.told!r}")
            if self.fd in ready:
                try:
                    self.screen += os.read(self.fd, 4096)
                except OSError as error:
                    if error.errno != errno.EIO:
                        raise
                    time.sleep(0.01)  # nobody has it open; the report is to come
            if self.report in ready:
                data = os.read(self.report, 100)
                if not data and what not in self.told:
                    raise SystemExit(f"it ended without {what!r}: {self.screen!r} {self.told!r}")
                self.told += data

    def type(self, text):
        os.write(self.fd, text)

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def go_on(self):
        os.kill(self.pid, signal.SIGUSR1)

    def ends_with(self, status):
        self.wait(b"exit", "told")
        self.wait(b"\n", "told")
        os.waitpid(self.pid, 0)
        os.close(self.fd)
        os.close(self.report)
        last = self.told.decode().split("\n")[-2]
        if last != f"exit {status}":
            raise SystemExit(f"{last}, not {status}: {self.screen!r}")


def start(script):
    return Terminal([*sys.argv[1:], "--", "sh", "-c", script])


LOOP = "echo ready; while :; do sleep 0.1; done"

t = start('test -t 0 && test -t 1 && test -t 2 && echo "tty $(tty)"; read line; echo "<$line>"; exit 4')
t.wait(b"tty /dev/")
t.type(b"some words\n")
t.wait(b"<some words>")
t.ends_with(4)

t = start('trap "stty size; exit 3" WINCH; ' + LOOP)
t.wait(b"ready")
t.resize(31, 77)
t.wait(b"31 77")
t.ends_with(3)

t = start("echo ready; exec sleep 1000")
t.wait(b"ready")
t.type(b"\x03")
t.ends_with(130)

t = start('n=0; trap "n=\\$((n + 1))" INT; echo ready; while [ $n = 0 ]; do sleep 0.1; done; sleep 0.3; echo "n=$n"; exit 9')
t.wait(b"ready")
t.type(b"\x03")
t.wait(b"n=1")  # once, not again through the launcher
t.ends_with(9)

t = start('trap "echo went on; exit 5" CONT; ' + LOOP)
t.wait(b"ready")
t.type(b"\x1a")
t.wait(b"stopped", "told")
t.go_on()
t.wait(b"went on")
t.ends_with(5)

# A program that stops itself, without the terminal's doing.
t = start("kill -TSTP $$; echo went on; exit 6")
t.wait(b"stopped", "told")
t.go_on()
t.wait(b"went on")
t.ends_with(6)

# An interactive shell has jobs of its own.
t = start("exec bash --norc -i")
t.type(b"sh -c 'echo up-$((40 + 1)); exec sleep 1000'\n")
t.wait(b"up-41")
t.type(b"\x1a")
t.wait(b"Stopped")
t.type(b"kill -9 %1; echo sh-$((40 + 2))\n")
t.wait(b"sh-42")
t.type(b"exit 7\nexit 7\n")  # the first may yet warn of a stopped job
t.ends_with(7)
print("as without the fence")
