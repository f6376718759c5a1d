#!/bin/bash
# SPDX-License-Identifier: MIT
# Beside the http bench: nginx as one process without a log, `return 200`. It cannot choose a port itself.
# Alone: scripts/bench/http_nginx.sh DIRECTORY, which holds its files
set -e
port=$((20000 + $$ % 10000))
mkdir -p "$1"
cat >"$1/nginx.conf" <<END
daemon off; master_process off; pid nginx.pid; error_log stderr crit;
events { worker_connections 20000; }
http {
	access_log off; keepalive_requests 100000000; default_type text/plain;
	server { listen 127.0.0.1:$port backlog=4096; location / { return 200 "hello world\n"; } }
}
END

# Says so when the port can be connected to, and is no child of nginx.
announce() {
	local i
	for i in {1..100}; do
		if (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
			echo "listening on http://127.0.0.1:$port"
			return
		fi
		sleep 0.02
	done
}
(announce &)
exec nginx -p "$1" -c nginx.conf
