#!/usr/bin/env bash
# A real Slurm on this one machine, to try `hydra/launcher=slurm` without a cluster: needs root and Debian's packages.
#   scripts/slurm.sh up     installs what is missing, starts it, prints what to export
#   scripts/slurm.sh down   stops it and removes its state
# Two partitions: normal, and urgent, whose jobs preempt those of normal (SIGUSR2 at once, 20 s later they are requeued).
set -euo pipefail
home=${TURNOVER_SLURM:-/var/tmp/turnover-slurm}

say() { echo "slurm: $*" >&2; }

mark="ClusterName=turnover"  # a line of our slurm.conf

ours() {  # whether the folder is one that this script has made, or is empty or not there
  [ ! -e "$home" ] || [ -z "$(ls -A "$home")" ] || grep -qsx "$mark" "$home/slurm.conf"
}

running() {  # the processes that this script has started from the folder, by their names and not by their numbers alone
  local name pid command
  for name in slurmd slurmctld slurmdbd mariadb munged; do
    pid=$(cat "$home/$name.pid" 2>/dev/null) || continue
    command=$(ps -o comm= -p "$pid" 2>/dev/null) || continue
    case $command in "$name" | "${name}d") echo "$pid" ;; esac
  done
}

stop() {
  if ! ours; then
    say "$home has files, but no slurm.conf of this script: nothing is stopped or removed; set TURNOVER_SLURM"
    exit 1
  fi
  if [ -n "$(running)" ] && [ -e "$home/slurmctld.pid" ]; then  # jobs would outlive the daemons
    export SLURM_CONF=$home/slurm.conf
    timeout 10 squeue -h -o %A 2>/dev/null | timeout 10 xargs -r scancel --full 2>/dev/null || true
    for _ in $(seq 50); do
      [ -n "$(timeout 10 squeue -h 2>/dev/null)" ] || break
      sleep 0.1
    done
  fi
  for signal in TERM KILL; do
    # shellcheck disable=SC2046  # a word for each process
    [ -z "$(running)" ] || kill -s "$signal" $(running) 2>/dev/null || true
    for _ in $(seq 100); do
      [ -n "$(running)" ] || break
      sleep 0.1
    done
  done
  if [ -n "$(running)" ]; then
    say "these do not end: $(running | xargs); $home stays"
    exit 1
  fi
  rm -rf "$home"
}

wait_for() {  # what, then a command that must succeed
  local what=$1
  shift
  for _ in $(seq 300); do
    if "$@" >/dev/null 2>&1; then return; fi
    sleep 0.1
  done
  say "$what did not start; see $home/*.log"
  exit 1
}

install() {
  local missing=()
  for pair in slurmctld:slurm-wlm slurmdbd:slurmdbd munged:munge mariadbd:mariadb-server; do
    command -v "${pair%%:*}" >/dev/null || [ -x "/usr/sbin/${pair%%:*}" ] || missing+=("${pair##*:}")
  done
  if [ ${#missing[@]} -eq 0 ]; then return; fi
  say "installing ${missing[*]} (Debian packages, about half a minute)"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

configure() {
  mkdir -p "$home"/{state,spool,database}
  chmod 755 "$home"
  local host cores memory
  host=$(hostname -s)
  cores=$(getconf _NPROCESSORS_ONLN)  # nproc would say OMP_NUM_THREADS
  memory=$(awk '/MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)
  dd if=/dev/urandom of="$home/munge.key" bs=1024 count=1 status=none
  chmod 400 "$home/munge.key"
  cat >"$home/slurm.conf" <<CONF
$mark
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$home/munge.socket
CredType=cred/munge
CryptoType=crypto/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePass=$home/munge.socket
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=2
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmdTimeout=20
BatchStartTimeout=2
SlurmctldParameters=preempt_send_user_signal
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
StateSaveLocation=$home/state
SlurmdSpoolDir=$home/spool
SlurmctldPidFile=$home/slurmctld.pid
SlurmdPidFile=$home/slurmd.pid
SlurmctldLogFile=$home/slurmctld.log
SlurmdLogFile=$home/slurmd.log
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cores RealMemory=$memory State=UNKNOWN
PartitionName=normal Nodes=$host Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=20
PartitionName=urgent Nodes=$host MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
CONF
  cat >"$home/slurmdbd.conf" <<CONF
AuthType=auth/munge
AuthInfo=socket=$home/munge.socket
DbdHost=$host
DbdAddr=127.0.0.1
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=33306
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm
PidFile=$home/slurmdbd.pid
LogFile=$home/slurmdbd.log
CONF
  chmod 600 "$home/slurmdbd.conf"
}

start() {
  export PATH=$PATH:/usr/sbin SLURM_CONF=$home/slurm.conf
  munged --force --key-file="$home/munge.key" --socket="$home/munge.socket" --pid-file="$home/munged.pid" \
    --log-file="$home/munged.log" --seed-file="$home/munge.seed"
  mariadb-install-db --user=root --datadir="$home/database" >"$home/mariadb.log" 2>&1
  mariadbd --user=root --datadir="$home/database" --socket="$home/mariadb.socket" --port=33306 --bind-address=127.0.0.1 \
    --pid-file="$home/mariadb.pid" >>"$home/mariadb.log" 2>&1 &
  wait_for mariadb mariadb --socket="$home/mariadb.socket" -e "select 1"
  mariadb --socket="$home/mariadb.socket" -e \
    "create database slurm; create user slurm@'127.0.0.1' identified by 'slurm'; grant all on slurm.* to slurm@'127.0.0.1'"
  slurmdbd -s  # configuration lies beside slurm.conf
  wait_for slurmdbd sacctmgr -n list cluster
  sacctmgr -i add cluster turnover >/dev/null 2>&1 || true
  slurmctld
  wait_for slurmctld scontrol ping
  slurmd
  wait_for slurmd bash -c "sinfo -h -o %T | grep -q idle"
}

case ${1:-} in
  up)
    [ "$(id -u)" = 0 ] || { say "must be root"; exit 1; }
    install
    stop
    configure
    start
    say "$(sinfo --version), $(getconf _NPROCESSORS_ONLN) cores, partitions normal and urgent"
    echo "export SLURM_CONF=$home/slurm.conf"
    ;;
  down) stop ;;
  *) sed -n '2,5s/^# //p' "$0"; exit 2 ;;
esac
