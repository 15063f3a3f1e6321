# Runs one job and records how it ended, also when the worker that started it is gone.
# Arguments: CONTROL-DIRECTORY DATA-LIMIT-KIB|unlimited [CGROUP...] -- COMMAND...
control=$1 data=$2
shift 2
# The first supervisor that creates this file owns the job: a job is never started twice.
set -C
{ echo $$ >"$control/pid"; } 2>/dev/null || exit 0
set +C
# Tells the worker, which waits for the end of this stream, that the job has its owner.
exec >&-
(
  while [ "$1" != -- ]; do
    echo 0 >"$1/cgroup.procs" || exit 125
    shift
  done
  shift
  ulimit -S -d "$data" || exit 125
  exec "$@"
) 2>"$control/log" >&2 </dev/null
code=$?
{ echo "$code"; times; echo end; } >"$control/exit"
