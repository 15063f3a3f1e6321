# First process of a job's own mount and process namespaces: makes the host's files read-only except the run directory
# and a private /tmp, then becomes the job.
# Arguments: RUN-DIRECTORY WORK-DIRECTORY PRIVATE-TMP SHM-BYTES [MOUNT-POINT OPTIONS]... -- COMMAND...
set -e
run=$1 work=$2 tmp=$3 shm=$4
shift 4
exec 8<"$work" 9<"$run"
mount --bind "$tmp" /tmp
if [ ! "$work" -ef /proc/self/fd/8 ]; then
  # The work directory was below /tmp, which is now another one.
  mkdir -p "$work"
  mount -c --bind /proc/self/fd/8 "$work"
  mount -o remount,bind,ro "$work"
fi
mount -c --bind /proc/self/fd/9 "$run"
if [ -d /dev/shm ]; then mount -t tmpfs -o "size=$shm,mode=1777" tmpfs /dev/shm; fi
while [ "$1" != -- ]; do
  # A mount that refuses is no reason to fail the job: the isolation is best effort.
  mount -o "remount,bind,ro$2" "$1" 2>/dev/null || true
  shift 2
done
shift
exec 8<&- 9<&-
cd "$run"
exec "$@"
