"""Runs many command lines of an installed Python program without paying its start for each.

Loads the console script named on the command line once. Then reads one JSON object per line from standard input, {"argv": [...],
"env": {...}, "cwd": "...", "deadline": seconds}, runs it in a forked child, and answers with one line {"code": n, "stdout":
base64, "stderr": base64}. The child is as fresh as a new process after its imports.
"""

import base64
import importlib.metadata
import json
import os
import signal
import sys
import tempfile


def run(main, request):
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            become(main, request, out.fileno(), err.fileno())
        code = wait(child, request["deadline"])
        streams = []
        for stream in (out, err):
            stream.seek(0)
            streams.append(base64.b64encode(stream.read()).decode())
        return {"code": code, "stdout": streams[0], "stderr": streams[1]}


def become(main, request, out, err):
    code = 70
    try:
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (out, 1), (err, 2)):
            os.dup2(source, target)
        os.environ.clear()
        os.environ.update(request["env"])
        os.chdir(request["cwd"])
        sys.argv = request["argv"]
        code = main() or 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else (0 if end.code is None else 1)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:  # what the interpreter would have done
        import traceback

        traceback.print_exc()
        code = 1
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:
                pass
        os._exit(code if isinstance(code, int) else 0)


def wait(child, deadline):
    signal.signal(signal.SIGALRM, lambda *_: os.kill(child, signal.SIGKILL))
    signal.alarm(deadline)
    _, status = os.waitpid(child, 0)
    signal.alarm(0)
    return os.waitstatus_to_exitcode(status)


def main():
    [script] = importlib.metadata.entry_points(group="console_scripts", name=sys.argv[1])
    loaded = script.load()
    # Answers keep their own way out; whatever the program prints while it loads does not mix with them.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        print(json.dumps(run(loaded, json.loads(line))), file=answers, flush=True)


main()
