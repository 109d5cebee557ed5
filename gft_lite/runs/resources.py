"""A shortage of disk, memory, files or processes as a sentence with what to do.

Libraries report the same shortage as different errors; here they become one sentence. The caller
adds the state of its own work.
"""

from __future__ import annotations

import errno

ROOM = "no room is left on the disk{of}; make room (`df` shows the free space)"
SIZE = "a file{of} reached the largest size that is allowed here; raise the limit (`ulimit -f`)"
FILES = "too many files are open; raise the limit (`ulimit -n 1024`)"
MEMORY = (
    "memory ran out; close other programs, raise the limit (`ulimit -v`), or lower "
    "train.micro_batch_tokens and train.rollout_batch"
)
PROCESSES = (
    "a process or thread could not be started; raise the limits of processes and memory "
    "(`ulimit -u`, `ulimit -v`)"
)
NAME = "a name is longer than the file system takes (255 bytes){of}; choose a shorter one"
HALF = (
    "a file could not be written whole: the disk is full (`df` shows the free space) or the size "
    "of files is limited (`ulimit -f`)"
)
NO_TEMPORARY = "no temporary file can be written; make room, or name another folder with TMPDIR"
CPU = "the limit of CPU time is reached; raise it (`ulimit -t`)"
READ_ONLY = "the file system{of} cannot be written; choose another folder"

BY_NUMBER = {
    errno.ENOSPC: ROOM,
    errno.EDQUOT: ROOM,
    errno.EFBIG: SIZE,
    errno.EMFILE: FILES,
    errno.ENFILE: FILES,
    errno.ENOMEM: MEMORY,
    errno.EAGAIN: PROCESSES,  # of fork; files here never answer with it
    errno.ENAMETOOLONG: NAME,
    errno.EROFS: READ_ONLY,
}
BY_TEXT = {
    "No space left on device": ROOM,
    "Disk quota exceeded": ROOM,
    "File too large": SIZE,
    "PytorchStreamWriter failed writing": HALF,
    "unexpected pos": HALF,
    "No usable temporary directory": NO_TEMPORARY,
    "Too many open files": FILES,
    "annot allocate memory": MEMORY,
    "can't allocate memory": MEMORY,
    "failed to map segment": MEMORY,
    "std::bad_alloc": MEMORY,
    "can't start new thread": PROCESSES,
    "Resource temporarily unavailable": PROCESSES,
}


def extend_cpu_time() -> None:
    """Raise the soft limit of CPU time to the hard one: beyond the soft limit, the system sends a
    signal every second, and kills a process that is about to end."""
    import resource  # not on Windows, which sends no such signal

    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (hard, hard))


def shortage(error: BaseException) -> str | None:
    """The sentence for an error that means a shortage; None for any other error."""
    if isinstance(error, MemoryError):
        return MEMORY
    if isinstance(error, OSError) and error.errno in BY_NUMBER:
        of = f" ({error.filename!s:.100})" if error.filename else ""
        return BY_NUMBER[error.errno].format(of=of)
    text = str(error)
    return next((message.format(of="") for sign, message in BY_TEXT.items() if sign in text), None)
