/* SPDX-License-Identifier: MIT
 *
 * Listening sockets; see listener.h. */
#include "listener.h"

#include "log.h"
#include "server_internal.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <event2/listener.h>

struct listener {
    LIST_ENTRY(listener) link;
    struct server *server;
    struct evconnlistener *events;
    struct event *retry; /* while accepting is paused */
    struct broker_address address;
    bool paused;
};

union any_address {
    struct sockaddr any;
    struct sockaddr_un un;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_storage storage;
};

static void
log_failure(const struct broker_address *address, const char *what,
    const char *why, const char *remedy)
{
    char text[BROKER_ADDRESS_TEXT_MAX];
    char quoted[BROKER_ADDRESS_TEXT_MAX * 2];
    broker_address_format(address, text, sizeof text);
    log_event(LOG_LEVEL_ERROR, "listen-failed",
        "address=%s failed=%s reason=\"%s\" hint=\"%s\"",
        log_quote(quoted, sizeof quoted, text, strlen(text)), what, why,
        remedy);
}

/* ---- accepting ----------------------------------------------------------- */

static void
peer_text(evutil_socket_t fd, const union any_address *peer, bool tls,
    char *dst, size_t cap)
{
    char host[INET6_ADDRSTRLEN];
    const char *kind = tls ? "tls" : "tcp";
    if (peer->any.sa_family == AF_INET) {
        evutil_inet_ntop(AF_INET, &peer->in.sin_addr, host, sizeof host);
        snprintf(dst, cap, "%s://%s:%u", kind, host, ntohs(peer->in.sin_port));
    } else if (peer->any.sa_family == AF_INET6) {
        evutil_inet_ntop(AF_INET6, &peer->in6.sin6_addr, host, sizeof host);
        snprintf(
            dst, cap, "%s://[%s]:%u", kind, host, ntohs(peer->in6.sin6_port));
    } else {
        struct ucred cred = {0};
        socklen_t len = sizeof cred;
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0) {
            cred.pid = 0;
        }
        snprintf(
            dst, cap, "unix:pid=%ld,uid=%ld", (long)cred.pid, (long)cred.uid);
    }
}

static void
accept_cb(struct evconnlistener *events, evutil_socket_t fd,
    struct sockaddr *from, int from_len, void *arg)
{
    (void)events;
    struct listener *listener = arg;
    union any_address peer = {0};
    if (from_len > 0 && (size_t)from_len <= sizeof peer) {
        memcpy(&peer, from, (size_t)from_len);
    }
    if (listener->address.kind == BROKER_ADDRESS_UNIX) {
        peer.any.sa_family = AF_UNIX;
    }
    char text[80];
    bool tls = listener->address.kind == BROKER_ADDRESS_TLS;
    peer_text(fd, &peer, tls, text, sizeof text);
    server_accepted(listener->server, fd, text, tls);
}

static struct timeval
milliseconds(uint32_t ms)
{
    return (struct timeval){
        .tv_sec = ms / 1000, .tv_usec = (long)(ms % 1000) * 1000};
}

static void
resume_cb(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct listener *listener = arg;
    if (evconnlistener_enable(listener->events) == 0) {
        listener->paused = false;
        return;
    }
    struct timeval pause =
        milliseconds(listener->server->options.accept_retry_ms);
    (void)event_add(listener->retry, &pause);
}

/* accept(2) failed. Trying again at once would spin the loop: the connection
 * that could not be accepted is still there. */
static void
accept_error_cb(struct evconnlistener *events, void *arg)
{
    struct listener *listener = arg;
    int error = EVUTIL_SOCKET_ERROR();
    log_event(LOG_LEVEL_WARNING, "accept-failed",
        "reason=\"%s\" retry_ms=%u hint=\"%s\"", strerror(error),
        listener->server->options.accept_retry_ms,
        error == EMFILE ? "raise the limit of open files or lower "
                          "max_connections"
                        : "free file descriptors or memory");
    struct timeval pause =
        milliseconds(listener->server->options.accept_retry_ms);
    if (!listener->paused && event_add(listener->retry, &pause) == 0 &&
        evconnlistener_disable(events) == 0) {
        listener->paused = true;
    }
}

/* ---- binding ------------------------------------------------------------- */

/* Read the address back: port 0 has become a real one. */
static bool
read_back(struct listener *listener, evutil_socket_t fd)
{
    if (listener->address.kind == BROKER_ADDRESS_UNIX) {
        return true;
    }
    union any_address bound;
    socklen_t len = sizeof bound;
    if (getsockname(fd, &bound.any, &len) != 0) {
        return false;
    }
    struct broker_address *address = &listener->address;
    return getnameinfo(&bound.any, len, address->host, sizeof address->host,
               address->port, sizeof address->port,
               NI_NUMERICHOST | NI_NUMERICSERV) == 0;
}

/* Takes over the bound socket, also on failure. */
static bool
start(struct server *server, const struct broker_address *address,
    evutil_socket_t fd)
{
    struct listener *listener = calloc(1, sizeof *listener);
    if (listener == NULL) {
        log_failure(address, "listen", strerror(errno), "free memory");
        evutil_closesocket(fd);
        return false;
    }
    listener->server = server;
    listener->address = *address;
    listener->retry = evtimer_new(server->workers[0].base, resume_cb, listener);
    listener->events =
        evconnlistener_new(server->workers[0].base, accept_cb, listener,
            LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_DISABLED,
            (int)server->options.backlog, fd);
    if (listener->events == NULL || listener->retry == NULL ||
        !read_back(listener, fd)) {
        log_failure(
            address, "listen", strerror(errno), "choose another address");
        if (listener->events != NULL) {
            evconnlistener_free(listener->events);
        } else {
            evutil_closesocket(fd);
        }
        if (listener->retry != NULL) {
            event_free(listener->retry);
        }
        free(listener);
        return false;
    }
    evconnlistener_set_error_cb(listener->events, accept_error_cb);
    LIST_INSERT_HEAD(&server->listeners, listener, link);
    return true;
}

static bool
open_tcp(struct server *server, const struct broker_address *address,
    const struct addrinfo *info)
{
    evutil_socket_t fd = socket(info->ai_family,
        SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    int on = 1;
    if (fd < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        (info->ai_family == AF_INET6 &&
            setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0) ||
        bind(fd, info->ai_addr, info->ai_addrlen) != 0) {
        log_failure(address, "bind", strerror(errno),
            errno == EADDRINUSE ? "stop who listens there, or choose another "
                                  "port; port 0 takes a free one"
                                : "choose an address of this machine");
        if (fd >= 0) {
            evutil_closesocket(fd);
        }
        return false;
    }
    return start(server, address, fd);
}

static bool
open_all_tcp(struct server *server, const struct broker_address *address)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
        .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    int error = getaddrinfo(address->host, address->port, &hints, &list);
    if (error != 0) {
        log_failure(address, "resolve", gai_strerror(error),
            "use a name or number of this machine");
        return false;
    }
    bool ok = true;
    for (const struct addrinfo *info = list; ok && info != NULL;
         info = info->ai_next) {
        ok = open_tcp(server, address, info);
    }
    freeaddrinfo(list);
    return ok;
}

/* Is somebody listening on this socket file? A file that a crashed broker left
 * behind refuses connections and may be removed. */
static bool
is_stale(const struct sockaddr_un *name)
{
    struct stat status;
    if (lstat(name->sun_path, &status) != 0 || !S_ISSOCK(status.st_mode)) {
        return false;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return false;
    }
    int result = connect(fd, (const struct sockaddr *)name, sizeof *name);
    bool refused = result != 0 && errno == ECONNREFUSED;
    close(fd);
    return refused;
}

static bool
open_unix(struct server *server, const struct broker_address *address)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    memcpy(name.sun_path, address->path, strlen(address->path) + 1);
    if (is_stale(&name)) {
        (void)unlink(name.sun_path); /* bind tells if it did not work */
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    /* Nobody can connect before listen(2), so the mode is right in time. */
    if (fd < 0 || bind(fd, (const struct sockaddr *)&name, sizeof name) != 0 ||
        chmod(name.sun_path, server->options.unix_mode) != 0) {
        log_failure(address, "bind", strerror(errno),
            errno == EADDRINUSE
                ? "another broker listens there, or the file is no socket: "
                  "stop it or remove the file"
                : "check that the folder exists and may be written to, or "
                  "set XDG_RUNTIME_DIR");
        if (fd >= 0) {
            close(fd);
        }
        return false;
    }
    return start(server, address, fd);
}

bool
listener_open(struct server *server, const struct broker_address *address)
{
    if (address->kind == BROKER_ADDRESS_TLS && server->options.tls == NULL) {
        log_failure(address, "listen", "there is no certificate",
            "set tls_certificate_file and tls_key_file");
        return false;
    }
    return address->kind == BROKER_ADDRESS_UNIX ? open_unix(server, address)
                                                : open_all_tcp(server, address);
}

bool
listener_start_all(struct server *server)
{
    struct listener *listener;
    LIST_FOREACH(listener, &server->listeners, link)
    {
        if (evconnlistener_enable(listener->events) != 0) {
            log_failure(
                &listener->address, "listen", strerror(errno), "free memory");
            return false;
        }
    }
    return true;
}

void
listener_close_all(struct server *server)
{
    while (!LIST_EMPTY(&server->listeners)) {
        struct listener *listener = LIST_FIRST(&server->listeners);
        LIST_REMOVE(listener, link);
        if (listener->address.kind == BROKER_ADDRESS_UNIX) {
            (void)unlink(listener->address.path);
        }
        evconnlistener_free(listener->events);
        event_free(listener->retry);
        free(listener);
    }
}

char *
listener_addresses(const struct server *server)
{
    char *all = strdup("");
    const struct listener *listener;
    LIST_FOREACH(listener, &server->listeners, link)
    {
        char text[BROKER_ADDRESS_TEXT_MAX];
        broker_address_format(&listener->address, text, sizeof text);
        char *longer = NULL;
        /* The list is newest first; the text is in the order of opening. */
        if (all == NULL || asprintf(&longer, "%s%s%s", text,
                               all[0] == '\0' ? "" : " ", all) < 0) {
            free(all);
            return NULL;
        }
        free(all);
        all = longer;
    }
    return all;
}
