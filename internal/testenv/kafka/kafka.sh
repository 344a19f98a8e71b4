#!/usr/bin/env bash
# Runs real Apache Kafka brokers for tests: KRaft, loopback only, jars from Maven.
#
#   kafka.sh install DIR                     put the jars in DIR/lib
#   kafka.sh start DIR PORT                  one broker on 127.0.0.1:PORT
#   kafka.sh start-cluster DIR N BASEPORT    N brokers on BASEPORT .. BASEPORT+N-1
#   kafka.sh start-node DIR I N BASEPORT     broker I of those alone, whatever the others do
#   kafka.sh stop DIR                        stop the brokers of DIR, keep their data
#   kafka.sh kill DIR                        the same with kill -9
#
# The controllers take the N ports after the brokers', and with KAFKA_SECURE (SSL, SASL_PLAINTEXT or
# SASL_SSL; the rest by KAFKA_PROPS) a listener SECURE of each broker the N after those. Broker I keeps its data,
# server.properties, pid and log in DIR/node-I. Starting again starts only the brokers
# that are down, on the data they had, so a test may kill -9 one and bring it back. After a
# start that failed, stop or kill ends what did come up.
#
# Environment: JAVA_HOME; KAFKA_SECURE; KAFKA_LIB (a jar folder to share between DIRs, default DIR/lib);
# KAFKA_HEAP (default 512m); KAFKA_JVM (more options of the Java machine); KAFKA_PROPS (more server.properties lines, these win);
# KAFKA_WAIT (seconds to wait for the brokers, default 60).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
java=${JAVA_HOME:+$JAVA_HOME/bin/}java
limit=$(command -v timeout >/dev/null && echo "timeout 5" || true) # a hung broker; macOS has no timeout
cluster_id=YXVkaXQtdGVzdC1icm9rZQ # 16 bytes in base64, the same for every test cluster

die() { echo "kafka.sh: $*" >&2; exit 1; }

# pid_of NODE prints the pid of the broker in folder NODE, and fails when it is not running.
pid_of() {
  local pid
  pid=$(cat "$1/pid" 2>/dev/null) && [[ $(ps -o args= -p "$pid" 2>/dev/null) == *"$1/server.properties" ]] && echo "$pid"
}

# brokers_seen PORT prints how many live brokers the broker on PORT knows: a Metadata request
# (key 3, version 0, correlation id 1, null client id, every topic), whose reply begins with
# its size, the correlation id and the number of brokers.
brokers_seen() {
  { printf '\0\0\0\x0e\0\x03\0\0\0\0\0\x01\xff\xff\0\0\0\0' >&3
    ${limit:+$limit} head -c 12 <&3 | od -An -tu1 -j11
  } 2>/dev/null 3<>"/dev/tcp/127.0.0.1/$1" | tr -d ' '
}

install() {
  rm -f "$lib"/*.jar "$lib"/broker.jsa
  mvn -B -q -Dstyle.color=never -f "$here/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$lib" >&2
}

# properties I N BASEPORT prints the server.properties of broker I of N.
properties() {
  local i=$1 n=$2 base=$3 voters="" j
  local copies=$((n < 3 ? n : 3))
  local insync=$((copies > 1 ? copies - 1 : 1))
  local secure="" protocols=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
  if [[ -n ${KAFKA_SECURE:-} ]]; then
    secure=,SECURE://127.0.0.1:$((base + 2 * n + i - 1))
    protocols+=,SECURE:$KAFKA_SECURE
  fi
  for ((j = 1; j <= n; j++)); do voters+=${voters:+,}$j@127.0.0.1:$((base + n + j - 1)); done
  cat <<EOF
process.roles=broker,controller
node.id=$i
controller.quorum.voters=$voters
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$((base + i - 1)),CONTROLLER://127.0.0.1:$((base + n + i - 1))$secure
listener.security.protocol.map=$protocols
log.dirs=$dir/node-$i/data
auto.create.topics.enable=false
default.replication.factor=$copies
min.insync.replicas=$insync
offsets.topic.replication.factor=$copies
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=$copies
transaction.state.log.min.isr=$insync
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=$copies
share.coordinator.state.topic.min.isr=$insync
share.coordinator.state.topic.num.partitions=4
group.initial.rebalance.delay.ms=0
log.segment.bytes=134217728
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=4000
${KAFKA_PROPS:-}
EOF
}

# launch I N BASEPORT starts broker I of N in the background, formatting its storage first.
launch() {
  local node=$dir/node-$1 port=$(($3 + $1 - 1)) dump="" tries=0
  pid_of "$node" >/dev/null && return
  while (: 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do # a broker just killed can hold it a moment
    ((++tries < 50)) || die "port $port is taken"
    sleep 0.1
  done
  mkdir -p "$node"
  properties "$@" >"$node/server.properties"
  local jvm=("$java" "-Xmx${KAFKA_HEAP:-512m}" ${KAFKA_JVM:-} -Dorg.slf4j.simpleLogger.showDateTime=true
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS" -cp "$lib/*")
  # A class data archive halves the work of a start. The first lone broker to stop writes it.
  if [[ -e $lib/broker.jsa ]]; then
    jvm+=("-XX:SharedArchiveFile=$lib/broker.jsa")
  elif (($2 == 1)); then
    dump=-XX:ArchiveClassesAtExit=$lib/broker.jsa
  fi
  [[ -e $node/data/meta.properties ]] ||
    "${jvm[@]}" kafka.tools.StorageTool format --ignore-formatted -t "$cluster_id" -c "$node/server.properties" >>"$node/log" 2>&1 ||
    die "cannot format $node/data: see $node/log"
  nohup "${jvm[@]}" ${dump:+"$dump"} kafka.Kafka "$node/server.properties" </dev/null >>"$node/log" 2>&1 &
  echo $! >"$node/pid"
}

# await I BASEPORT TEST waits until what broker I answers, as a number of brokers, passes TEST.
await() {
  local seen
  until seen=$(brokers_seen $(($2 + $1 - 1)) || true) && [[ -n $seen ]] && ((seen $3)); do
    kill -0 "$(<"$dir/node-$1/pid")" 2>/dev/null || die "broker $1 ended: see $dir/node-$1/log"
    ((SECONDS < deadline)) || die "broker $1 not ready: see $dir/node-$1/log"
    sleep 0.1
  done
}

start() {
  local n=$1 base=$2 i
  for ((i = 1; i <= n; i++)); do launch "$i" "$n" "$base"; done
  for ((i = 1; i <= n; i++)); do await "$i" "$base" "== $n"; done
}

start_node() {
  launch "$1" "$2" "$3"
  await "$1" "$3" ">= 1"
}

stop() {
  local node pid signal=$1
  deadline=$((SECONDS + 30))
  for node in "$dir"/node-*; do
    if pid=$(pid_of "$node"); then kill "-$signal" "$pid"; fi
  done
  for node in "$dir"/node-*; do
    while pid=$(pid_of "$node"); do
      ((SECONDS < deadline)) || kill -9 "$pid"
      sleep 0.1
    done
    rm -f "$node/pid"
  done
}

usage() { die "usage: kafka.sh install|stop|kill DIR | start DIR PORT | start-cluster DIR N BASEPORT | start-node DIR I N BASEPORT"; }

(($# >= 2)) || usage
mkdir -p "$2"
dir=$(cd "$2" && pwd)
lib=${KAFKA_LIB:-$dir/lib}
deadline=$((SECONDS + ${KAFKA_WAIT:-60}))
[[ $1 != start* || -d $lib ]] || die "no jars in $lib: run install first"
case "$1/$#" in
  install/2) install ;;
  start/3) start 1 "$3" ;;
  start-cluster/4) start "$3" "$4" ;;
  start-node/5) start_node "$3" "$4" "$5" ;;
  stop/2) stop TERM ;;
  kill/2) stop KILL ;;
  *) usage ;;
esac
