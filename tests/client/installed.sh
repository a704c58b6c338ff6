#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Installs the tree to a folder of its own and builds the examples against what
# is there, once with pkg-config and make, once with find_package, and with the
# static library. If brokerd is given, they are run against it.
#
# usage: installed.sh SOURCE BUILD [BROKERD]
set -eu

source=$1
build=$2
brokerd=${3:-}
work=$(mktemp -d)
daemon=
serving=
finish() {
    status=$?
    [ -z "$serving" ] || kill "$serving" 2>/dev/null || :
    [ -z "$daemon" ] || kill "$daemon" 2>/dev/null || :
    if [ $status -ne 0 ]; then
        tail -n 30 "$work"/*.log >&2 || :
    fi
    rm -rf "$work"
}
trap finish EXIT

fail() {
    echo "installed.sh: $*" >&2
    exit 1
}

# Wait until a file has a line; fail after some seconds.
wait_for() {
    tries=0
    until grep -q "$2" "$1" 2>/dev/null; do
        tries=$((tries + 1))
        [ $tries -lt 200 ] || fail "no '$2' in $1"
        sleep 0.1
    done
}

prefix=$work/prefix
cmake --install "$build" --prefix "$prefix" >"$work/install.log" 2>&1
for file in include/broker/client.h include/broker/codec.h \
    include/broker/adapters/libevent.h include/broker/adapters/poll.h; do
    [ -f "$prefix/$file" ] || fail "$file is not installed"
done
libdir=$(dirname "$(find "$prefix" -name 'libbroker-client.so')")

# The prefix of `cmake --install` is not the one that was configured, so the .pc
# files are told.
cp -r "$source/client/examples" "$work/with-make"
PKG_CONFIG_PATH=$libdir/pkgconfig
export PKG_CONFIG_PATH
pc="pkg-config --define-variable=prefix=$prefix"
pc="$pc --define-variable=libdir=$libdir"
pc="$pc --define-variable=includedir=$prefix/include"
make -C "$work/with-make" PKG_CONFIG="$pc" LDFLAGS="${LDFLAGS_EXTRA:-}" \
    CFLAGS="-O1 -g -Wall -Wextra -Werror ${CFLAGS_EXTRA:-}" \
    >"$work/make.log" 2>&1

cmake -S "$source/client/examples" -B "$work/with-cmake" \
    -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_C_FLAGS="${CFLAGS_EXTRA:-}" \
    >"$work/cmake.log" 2>&1
cmake --build "$work/with-cmake" >>"$work/cmake.log" 2>&1

# A program of another project that wants the static library.
mkdir "$work/static"
cat >"$work/static/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.25)
project(uses-static LANGUAGES C)
find_package(broker-client REQUIRED)
add_executable(publisher publisher.c)
target_link_libraries(publisher PRIVATE broker::client-static)
END
cp "$source/client/examples/publisher.c" "$work/static"
cmake -S "$work/static" -B "$work/static" -DCMAKE_PREFIX_PATH="$prefix" \
    -DCMAKE_C_FLAGS="${CFLAGS_EXTRA:-}" >"$work/static.log" 2>&1
cmake --build "$work/static" >>"$work/static.log" 2>&1
if ldd "$work/static/publisher" | grep -q libbroker; then
    fail "the static program needs a shared library"
fi

if [ -z "$brokerd" ]; then
    exit 0
fi

address=unix://$work/s.sock
"$brokerd" --listen "$address" >"$work/ready" 2>"$work/brokerd.log" &
daemon=$!
wait_for "$work/ready" "brokerd ready"
LD_LIBRARY_PATH=$libdir
export LD_LIBRARY_PATH
for built in with-make with-cmake static; do
    "$work/$built/publisher" -a "$address" a/b one two \
        >"$work/publisher.log" 2>&1 || fail "publisher of $built"
done
for built in with-make with-cmake; do
    "$work/$built/subscriber" 'r/#' "$address" \
        >"$work/subscriber.log" 2>"$work/subscriber-errors.log" &
    serving=$!
    wait_for "$work/subscriber-errors.log" "subscribed to"
    "$work/$built/publisher" -a "$address" r/s 21.5 \
        >"$work/publisher.log" 2>&1 || fail "publisher of $built"
    wait_for "$work/subscriber.log" "r/s: 21.5"
    kill -TERM "$serving"
    wait "$serving" || fail "subscriber of $built"

    "$work/$built/echo_service" serve echo "$address" \
        >"$work/service.log" 2>"$work/service-errors.log" &
    serving=$!
    wait_for "$work/service-errors.log" "serving"
    "$work/$built/echo_service" ask echo hello "$address" \
        >"$work/asker.log" 2>&1 || fail "echo_service ask of $built"
    grep -q "answer: hello" "$work/asker.log" || fail "no answer"
    kill -TERM "$serving"
    wait "$serving" || fail "echo_service serve of $built"
    serving=
done
