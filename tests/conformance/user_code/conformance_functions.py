"""Functions of a user, good and bad; the conformance suite of trainables trains them. They import nothing of ours."""

# ruff: noqa
import logging, sys, time
import numpy as np
import torch


def _state(trial):
    generator = np.random.default_rng(trial.seed)
    return {"epoch": 0, "w": generator.normal(size=4)}


def _epoch(state, trial):
    epoch = state["epoch"] + 1
    noise = np.random.default_rng([trial.seed, epoch]).normal(size=4)
    w = state["w"] * (1 - trial.params.get("lr", 0.1)) + 0.01 * noise
    return {"epoch": epoch, "w": w}, float((w**2).sum())


def report_then_save(trial):
    state = trial.load_checkpoint() or _state(trial)
    while True:
        state, loss = _epoch(state, trial)
        trial.report(state["epoch"], val_loss=loss)
        trial.save_checkpoint(state)


def save_then_report(trial):
    state = trial.load_checkpoint() or _state(trial)
    while True:
        state, loss = _epoch(state, trial)
        trial.save_checkpoint(state)
        trial.report(state["epoch"], val_loss=loss)


def never_saves(trial):
    state = _state(trial)
    while True:
        state, loss = _epoch(state, trial)
        print("epoch", state["epoch"])
        trial.report(state["epoch"], val_loss=loss)


def swallows(trial):
    state = _state(trial)
    while True:
        try:
            state, loss = _epoch(state, trial)
            trial.report(state["epoch"], val_loss=loss)
        except Exception:
            pass


def counts_nanoseconds(trial):
    trial.report(2**53, val_loss=1.0)


def returns_early(trial):
    for epoch in (1, 2):
        trial.report(epoch, val_loss=1.0)


def returns_nothing(trial):
    pass


def talks(trial):
    print("to stdout")
    print("to stderr", file=sys.stderr)
    logging.getLogger("mine").info("to the log")
    trial.log("to the trial")
    trial.report(1, val_loss=1.0)


def floods(trial):
    for _ in range(40):
        print("x" * 65536)
    trial.report(1, val_loss=1.0)


def helper():
    raise KeyError("missing key")


def fails(trial):
    trial.report(1, val_loss=1.0)
    helper()


def exits(trial):
    sys.exit(3)


def no_memory(trial):
    raise MemoryError


def torch_no_memory(trial):
    raise torch.OutOfMemoryError("CUDA out of memory")


def misnames(trial):
    trial.report(1, val_los=1.0, accuracy=0.5)


def infinite(trial):
    trial.report(1, val_loss=float("inf"))


def repeats(trial):
    trial.report(2, val_loss=1.0)
    trial.report(2, val_loss=1.0)


def text_metric(trial):
    trial.report(1, val_loss="low")


def scalars(trial):
    trial.report(np.int64(1), val_loss=torch.tensor(0.5), other=np.float32(0.25), resource=np.float64(1.5))


def cannot_pickle(trial):
    trial.report(1, val_loss=1.0)
    trial.save_checkpoint({"f": lambda: 0})


def leaks(trial):
    import os, random

    os.environ["HPO_LEAK"] = "1"
    os.chdir("/")
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(1)
    random.seed(1)
    trial.report(1, val_loss=random.random())


def seeded(trial):
    import random

    trial.report(1, val_loss=random.random(), a=float(np.random.rand()), b=torch.rand(()))


# Bad input, as test_bad_user_code asks for it


def lacks(trial):
    trial.report(1, val_loss=trial.params["momentun"])


def nan(trial):
    trial.report(1, val_loss=float("nan"))


def text(trial):
    trial.report(1, val_loss="low")


def nothing(trial):
    pass


def goes_on_after_the_end(trial):
    for epoch in range(1, 100):
        try:
            trial.report(epoch, val_loss=1.0)
        except BaseException:
            print("never mind")


def allocates_everything(trial):
    held = []
    trial.report(1, val_loss=1.0)
    while len(held) < 64:
        held.append(np.ones(2**24))  # 128 MiB


def forks(trial):
    import os

    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        trial.report(1, val_loss=float(os.waitstatus_to_exitcode(status)))


def forks_and_raises(trial):
    import os

    child = os.fork()
    if not child:
        raise ValueError("in the child")
    _, status = os.waitpid(child, 0)
    trial.report(1, val_loss=float(os.waitstatus_to_exitcode(status)))


def reports_from_a_fork(trial):
    import os

    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            trial.report(1, val_loss=1.0)
        except Exception as error:
            os.write(write, str(error).encode())
        os._exit(0)
    os.waitpid(child, 0)
    trial.log(os.read(read, 1000).decode())
    trial.report(1, val_loss=2.0)


def uses_processes(trial):
    import concurrent.futures, multiprocessing

    context = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        trial.report(1, val_loss=float(sum(pool.map(abs, [-1, -2]))))


def handles_signals(trial):
    import signal, threading

    failed = []

    def handle():
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        except ValueError as error:
            failed.append(error)

    thread = threading.Thread(target=handle)
    thread.start()
    thread.join()
    raise failed[0]


def reads_a_relative_file(trial):
    open("data.csv").read()


def prints_a_lot(trial):
    line = "x" * 99 + "\n"
    for _ in range(200):
        sys.stdout.write(line * 10_000)
    trial.report(1, val_loss=1.0)


def never_ends(trial):
    epoch = 0
    while True:
        epoch += 1
        try:
            trial.report(epoch, val_loss=1.0)
        except:
            pass


def leaves_a_child(trial):
    import subprocess

    child = subprocess.Popen(["sleep", "600"])
    print("child", child.pid, flush=True)
    trial.report(1, val_loss=1.0)


def exits_hard(trial):
    import os

    trial.report(1, val_loss=1.0)
    os._exit(3)


def asks_for_more_than_there_is(trial):
    trial.report(1, val_loss=1.0)
    import resource

    soft = resource.getrlimit(resource.RLIMIT_DATA)[0]
    print("may hold", soft, flush=True)
    np.empty(soft, dtype=np.uint8)
