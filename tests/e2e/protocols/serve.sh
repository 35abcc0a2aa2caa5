# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2317 # the functions are called by the names of protocols
#
# serve.sh: the servers of protocols.sh, sourced by it. For each protocol need_P says what it takes, ports_P where it
# is served, clients_of P which clients speak it, and serve_P starts it at $SERVER; what must be true before a client may
# come is added to ${ready[@]}. All end with the lab.
: "${here:?is set by lib.sh}"
ready=()

clients_of() {
  case $1 in
  tls12) echo "openssl s_client, TLS 1.2" ;;
  tls13) echo "openssl s_client, TLS 1.3" ;;
  h2) echo "nghttp, node, curl" ;;
  ws) echo "ws, both ws: and wss:" ;;
  ssh) echo "OpenSSH" ;;
  redis) echo "redis-cli" ;;
  smtp) echo "nodemailer with STARTTLS, curl" ;;
  mysql) echo "the greeting of a server" ;;
  grpc) echo "grpc-js" ;;
  git) echo "git over https" ;;
  postgresql) echo "psql with TLS" ;;
  mariadb) echo "mariadb with TLS" ;;
  esac
}

ports_of() {
  case $1 in
  tls12) echo 8012 8112 8212 ;;
  tls13) echo 8013 8113 8213 ;;
  h2) echo 8443 ;;
  ws) echo 8001 8002 ;;
  ssh) echo 2222 ;;
  redis) echo 6379 ;;
  smtp) echo 2525 ;;
  mysql) echo 3306 ;;
  grpc) echo 50051 ;;
  git) echo 8418 ;;
  postgresql) echo 5432 ;;
  mariadb) echo 3307 ;;
  esac
}

# What is sent about: bytes of every kind, the same in every run.
make_files() {
  mkdir -m 755 "$FILES"
  mkdir -m 1777 "$T/servers" # each server makes its own directory here, as whoever it runs as
  python3 -c 'import random, sys; sys.stdout.buffer.write(random.Random(409).randbytes(3 << 20))' >"$FILES/blob"
}

write_zone() {
  local name comma=''
  {
    printf '{'
    for name in "$@"; do
      printf '%s"%s.example.org": {"A": ["%s"]}' "$comma" "$name" "$SERVER"
      comma=', '
    done
    printf '}\n'
  } >"$T/zone.json"
}

write_policy() {
  local name ports
  {
    printf 'version: 1\nnetwork_policies:\n'
    for name in "$@"; do
      ports=$(ports_of "$name")
      printf '  %s:\n    name: %s\n    endpoints:\n' "$name" "$name"
      printf '      - { host: %s.example.org, ports: [%s] }\n' "$name" "${ports// /, }"
      printf '    binaries: [{ path: "/**" }]\n'
    done
  } >"$T/policy.yaml"
}

# listens PORT: looked up in the kernel's table, because some servers would take a probing connection for their only client.
listens() {
  local port
  printf -v port '%04X' "$1"
  grep -qE "^ *[0-9]+: [0-9A-F]{8}:$port [0-9A-F:]+ 0A " /proc/net/tcp
}

wait_for_servers() {
  local condition
  for condition in "${ready[@]}"; do
    # shellcheck disable=SC2086 # a command and its arguments
    wait_until 60 $condition || fail "not ready after 60 s: $condition"
  done
}

# The banners of the servers that speak first, as they are outside the fence: all they say before a client says anything.
hear_banners() {
  local protocol
  for protocol in "$@"; do
    case $protocol in
    ssh | smtp | mysql) python3 -c 'import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 10) as sock:
    sys.stdout.buffer.write(sock.recv(4096))' "$SERVER" "$(ports_of "$protocol")" >"$FILES/banner.$(ports_of "$protocol")" ;;
    esac
  done
}

need_tls12() { need openssl openssl; }
need_tls13() { need openssl openssl; }

# One server for each way: s_server has one client at a time. "-rev" answers line by line, "-HTTP" sends files.
# serve_tls VERSION PORT-CAPTURED PORT-CONNECT PORT-FILES
serve_tls() {
  local port how
  for port in "$2" "$3" "$4"; do
    how=-rev
    [ "$port" != "$4" ] || how=-HTTP
    (cd "$FILES" && exec openssl s_server -accept "$SERVER:$port" -cert "$T/standin/server.pem" "$1" "$how" -quiet) \
      >"$T/s_server.$port.log" 2>&1 </dev/null &
    ready+=("listens $port")
  done
}
serve_tls12() { serve_tls -tls1_2 8012 8112 8212; }
serve_tls13() { serve_tls -tls1_3 8013 8113 8213; }

need_h2() {
  need nghttpd nghttp2-server
  need nghttp nghttp2-client
  need curl curl
  need_node_modules
}
serve_h2() {
  nghttpd --address "$SERVER" --htdocs "$FILES" --echo-upload 8443 "$T/standin/server.pem" "$T/standin/server.pem" \
    >"$T/nghttpd.log" 2>&1 &
  ready+=("listens 8443")
}

# One process has all the servers of npm.
node_serves=no
serve_node() {
  [ "$node_serves" = no ] || return 0
  node_serves=yes
  node "$here/protocols/servers.mjs" "$SERVER" "$T/standin/server.pem" "$T/servers/git" "$T/servers/node" \
    >"$T/servers.log" 2>&1 &
  ready+=("test -e $T/servers/node")
}
need_ws() { need_node_modules; }
serve_ws() { serve_node; }
need_smtp() {
  need_node_modules
  need curl curl
}
serve_smtp() { serve_node; }
need_mysql() { need_node_modules; }
serve_mysql() { serve_node; }
need_grpc() { need_node_modules; }
serve_grpc() { serve_node; }

need_git() {
  need_node_modules
  need git git
}
serve_git() {
  git init --quiet --bare "$T/servers/git/repo.git"
  # The quiet period: the server thinks before it takes a push.
  printf '#!/bin/sh\nexec sleep %s\n' "$QUIET_S" >"$T/servers/git/repo.git/hooks/pre-receive"
  chmod 755 "$T/servers/git/repo.git/hooks/pre-receive"
  serve_node
}

need_ssh() {
  PATH=$PATH:/usr/sbin:/sbin
  need sshd openssh-server
  need ssh openssh-client
}

# As an ordinary user, who must have a shell and an account that no source of names calls locked: "tester" is in the
# lab's own /etc/passwd.
serve_ssh() {
  local dir=$T/servers/ssh
  {
    echo "tester:x:65534:65534::$T:/bin/sh"
    cat /etc/passwd
  } >"$T/passwd"
  chmod 644 "$T/passwd"
  mount --bind "$T/passwd" /etc/passwd
  as_user mkdir "$dir"
  as_user ssh-keygen -q -t ed25519 -N '' -f "$dir/host_key"
  ssh-keygen -q -t ed25519 -N '' -f "$T/ssh_key"
  printf 'lab %s\n' "$(cut -d ' ' -f 1,2 "$dir/host_key.pub")" >"$T/known_hosts"
  cat >"$T/sshd_config" <<CONF
ListenAddress $SERVER:2222
HostKey $dir/host_key
AuthorizedKeysFile $T/ssh_key.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
Subsystem sftp internal-sftp
CONF
  as_user "$(command -v sshd)" -D -e -f "$T/sshd_config" >"$T/sshd.log" 2>&1 &
  ready+=("listens 2222")
}

need_redis() {
  need redis-server redis-server
  need redis-cli redis-tools
}
serve_redis() {
  as_user redis-server --bind "$SERVER" --port 6379 --protected-mode no --save '' --appendonly no --dir "$T/servers" \
    >"$T/redis.log" 2>&1 &
  ready+=("grep -qs Ready.to.accept $T/redis.log")
}

# Debian keeps the server's programs out of PATH.
find_postgresql() {
  local dir
  for dir in /usr/lib/postgresql/*/bin; do
    [ ! -x "$dir/initdb" ] || PATH=$PATH:$dir
  done
}
need_postgresql() {
  find_postgresql
  need initdb postgresql
  need psql postgresql-client
}
serve_postgresql() {
  local dir=$T/servers/postgresql
  install -m 644 "$T/standin/server.pem" "$T/servers/pg.pem"
  as_user initdb --pgdata "$dir" --username tester --auth trust --no-sync --encoding UTF8 --locale C >"$T/initdb.log" 2>&1 ||
    fail "initdb: $(cat "$T/initdb.log")"
  as_user sh -c "umask 077 && cat '$T/servers/pg.pem' >'$dir/server.pem'"
  echo "host all all all trust" >>"$dir/pg_hba.conf"
  as_user postgres -D "$dir" -c "listen_addresses=$SERVER" -c unix_socket_directories= -c fsync=off -c ssl=on \
    -c ssl_cert_file=server.pem -c ssl_key_file=server.pem >"$T/postgresql.log" 2>&1 &
  ready+=("grep -qs ready.to.accept $T/postgresql.log")
}

need_mariadb() {
  PATH=$PATH:/usr/sbin:/sbin
  need mariadbd mariadb-server-core
  need mariadb-install-db mariadb-server-core
  need mariadb mariadb-client-core
}
serve_mariadb() {
  local dir=$T/servers/mariadb
  install -m 644 "$T/standin/server.pem" "$T/servers/mariadb.pem"
  as_user mkdir "$dir"
  as_user mariadb-install-db --no-defaults --datadir="$dir/data" --auth-root-authentication-method=normal \
    --skip-test-db --skip-name-resolve --cross-bootstrap >"$T/install-db.log" 2>&1 ||
    fail "mariadb-install-db: $(cat "$T/install-db.log")"
  cat >"$T/mariadb.sql" <<SQL
CREATE USER tester@'%' REQUIRE SSL;
CREATE DATABASE test;
GRANT ALL ON test.* TO tester@'%';
SQL
  as_user mariadbd --no-defaults --datadir="$dir/data" --bind-address="$SERVER" --port=3307 --socket="$dir/socket" \
    --pid-file="$dir/pid" --skip-name-resolve --innodb-flush-log-at-trx-commit=0 --local-infile=1 \
    --max-allowed-packet=64M --ssl-cert="$T/servers/mariadb.pem" --ssl-key="$T/servers/mariadb.pem" \
    --init-file="$T/mariadb.sql" >"$T/mariadb.log" 2>&1 &
  ready+=("grep -qs ready.for.connections $T/mariadb.log")
}
