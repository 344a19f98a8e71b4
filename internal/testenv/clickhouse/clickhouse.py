#!/usr/bin/env python3
"""Runs a single ClickHouse server (native and HTTP) for tests, on loopback only.

The engine is that of the PyPI wheel `chdb-core`: its extension module holds all of clickhouse-local, which
can open ClickHouse's own native and HTTP listeners (`SYSTEM START LISTEN`). No protocol is emulated.

    pip install --no-deps --target LIB chdb-core==26.9.0
    clickhouse.py --lib LIB --path DIR --tcp-port 9000 --http-port 8123 [--user NAME --password SECRET]

It prints `ready VERSION` once both ports are open, and ends when its stdin does, so that it never outlives
the process that started it. Tables live in DIR: after a kill -9 another start goes on with them. With
--remove, DIR is removed at the end of stdin.
"""
import argparse
import importlib.machinery
import importlib.util
import os
import pathlib
import shutil
import signal
import sys
import threading
from xml.sax.saxutils import escape

CONFIG = """<clickhouse>
  <path>{path}</path>
  <listen_host>127.0.0.1</listen_host>
  <tcp_port>{tcp}</tcp_port>
  <http_port>{http}</http_port>
  <users_config>users.xml</users_config>
  <query_log><database>system</database><table>query_log</table></query_log>
  <log-level>warning</log-level>
  <logger><log>{path}/server.log</log><size>20M</size><count>1</count></logger>
</clickhouse>
"""

USERS = """<clickhouse>
  <profiles><default/><readonly><readonly>1</readonly></readonly></profiles>
  <quotas>
    <default/>
    <limited><interval><duration>5</duration><query_inserts>5</query_inserts></interval></limited>
  </quotas>
  <users>{users}
  </users>
</clickhouse>
"""

# Beside "default", who has no password, two have none: "reader", who may set and write nothing, and "limited", who may do
# 5 inserts in 5 seconds.
USER = """
    <{name}>
      <password>{password}</password>
      <networks><ip>127.0.0.1</ip></networks>
      <profile>{profile}</profile>
      <quota>{quota}</quota>
      <access_management>1</access_management>
    </{name}>"""

# Runs in clickhouse-local's foreground session. The last query keeps that session open while the listeners
# serve; the one before it runs only when both are open.
SCRIPT = """
SYSTEM START LISTEN TCP;
SYSTEM START LISTEN HTTP;
SELECT format('ready {}', version()) INTO OUTFILE '/dev/stdout' APPEND FORMAT TSVRaw;
SELECT sleepEachRow(1) FROM system.numbers SETTINGS max_block_size = 1 FORMAT Null
"""


def load_engine(lib):
    """Loads the extension module alone: the chdb package would start an engine of its own."""
    module = lib / "chdb" / "_chdb.abi3.so"
    loader = importlib.machinery.ExtensionFileLoader("_chdb", str(module))
    engine = importlib.util.module_from_spec(importlib.util.spec_from_loader("_chdb", loader))
    loader.exec_module(engine)
    return engine


def stop_at_eof(fd, remove):
    while os.read(fd, 4096):
        pass
    if remove:
        shutil.rmtree(remove, ignore_errors=True)
    os._exit(0)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--lib", required=True, type=pathlib.Path, help="where pip put chdb-core")
    p.add_argument("--path", required=True, type=pathlib.Path, help="data directory (made if absent)")
    p.add_argument("--tcp-port", type=int, default=9000)
    p.add_argument("--http-port", type=int, default=8123)
    p.add_argument("--user", help="a user beside those without a password")
    p.add_argument("--password", default="")
    p.add_argument("--remove", action="store_true", help="remove the data directory at the end of stdin")
    a = p.parse_args()

    path, lib = a.path.resolve(), a.lib.resolve()
    path.mkdir(parents=True, exist_ok=True)
    users = ""
    for name, password, profile, quota in [
        ("default", "", "default", "default"), ("reader", "", "readonly", "default"), ("limited", "", "default", "limited"),
    ] + [(a.user, a.password, "default", "default")] * bool(a.user):
        users += USER.format(name=name, password=escape(password), profile=profile, quota=quota)
    (path / "users.xml").write_text(USERS.format(users=users))
    (path / "config.xml").write_text(CONFIG.format(path=escape(str(path)), tcp=a.tcp_port, http=a.http_port))

    # clickhouse-local reads ./config.xml, and would take stdin for table data.
    os.chdir(path)
    stdin = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)

    engine = load_engine(lib)
    for sig in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sig, signal.SIG_DFL)
    threading.Thread(target=stop_at_eof, args=(stdin, path if a.remove else None), daemon=True).start()
    result = engine.query(SCRIPT, "TSV")
    sys.exit(result.error_message() if result.has_error() else "clickhouse stopped")


if __name__ == "__main__":
    main()
