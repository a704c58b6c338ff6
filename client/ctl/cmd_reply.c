/* SPDX-License-Identifier: MIT
 *
 * brokerctl reply FILTER (TEXT | --exec COMMAND...): answer requests.
 *
 * Requests are fetched one by one with broker_client_next(), so those that wait
 * for a command to end are kept, and counted if they do not fit, by the
 * library. At most --jobs commands run at once; one loop waits for all of them,
 * for the broker and for signals.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "child.h"
#include "cmd.h"
#include "duration.h"
#include "link.h"
#include "say.h"
#include "signals.h"

#define JOBS_MAX 16u
#define LEAVE_NS UINT64_C(5000000000)
/* The header that marks an answer as an error, and what `req` looks for. */
#define ERROR_HEADER "error"

struct reply_settings {
    char **exec; /* NULL: a fixed text */
    const char *group;
    uint64_t count; /* 0: no limit */
    uint64_t jobs;
    uint64_t exec_timeout_ns;
    uint64_t connect_timeout_ns;
    bool no_reconnect;
};

static const struct reply_settings defaults = {
    .jobs = 1,
    .exec_timeout_ns = UINT64_C(30000000000),
    .connect_timeout_ns = LINK_TIMEOUT_NS,
};

static const struct option_spec options[] = {
    {"exec", 'e', OPTION_REST, "COMMAND...",
        "run it for each request; must come last",
        offsetof(struct reply_settings, exec), NULL},
    {"exec-timeout", 0, OPTION_DURATION, "TIME",
        "kill a command after this time (30s; 0: never)",
        offsetof(struct reply_settings, exec_timeout_ns), NULL},
    {"jobs", 'j', OPTION_COUNT, "N", "run up to N commands at once (1)",
        offsetof(struct reply_settings, jobs), NULL},
    {"group", 'g', OPTION_TEXT, "NAME",
        "share the requests with this queue group",
        offsetof(struct reply_settings, group), NULL},
    {"count", 'n', OPTION_COUNT, "N", "end after N answers",
        offsetof(struct reply_settings, count), NULL},
    {"no-reconnect", 0, OPTION_FLAG, NULL, "end when the connection is lost",
        offsetof(struct reply_settings, no_reconnect), NULL},
    {"connect-timeout", 0, OPTION_DURATION, "TIME",
        "time for the first connection (5s)",
        offsetof(struct reply_settings, connect_timeout_ns), NULL},
    {0},
};

/* A request whose command runs. */
struct job {
    struct child child;
    char *topic; /* of the request; NULL: the job is free */
    char *reply_to;
    uint64_t deadline_ns;
};

struct replier {
    const struct reply_settings *settings;
    const struct invocation *invocation;
    const char *text; /* NULL: run a command */
    struct link link;
    uint32_t subscription;
    size_t max_payload_bytes;
    struct job jobs[JOBS_MAX];
    size_t job_count; /* of them in use by --jobs */
    uint64_t taken;   /* requests that were or will be answered */
    bool gap, command_failed, refused;
    bool leaving; /* no new requests: the subscription ends */
    bool ended;   /* it has ended; what was queued for it is here */
    bool idle;    /* every request that is here was taken */
    enum broker_status refusal;
};

/* ---- answers ------------------------------------------------------------- */

static void
published_cb(struct broker_client *client,
    const struct broker_client_published *published, void *user)
{
    struct replier *replier = user;
    char text[LINK_TEXT_MAX];

    (void)client;
    if (published->status != BROKER_OK) {
        say("an answer: %s",
            link_text(published->status, published->text, text, sizeof text));
        replier->refused = true;
        replier->refusal = published->status;
    } else if (published->matched == 0 && !published->duplicate &&
               replier->link.verbose) {
        say("an answer came too late: nobody waits for it any more");
    }
}

/* Send one answer, waiting for room if need be. */
static enum ctl_exit
answer(struct replier *replier, const char *reply_to, const void *payload,
    size_t payload_len, const char *error)
{
    const struct broker_client_header header = {
        .key = ERROR_HEADER,
        .value = error,
        .value_bytes = error != NULL ? strlen(error) : 0,
    };
    const struct broker_client_outgoing message = {
        .topic = reply_to,
        .payload = payload,
        .payload_bytes = payload_len,
        .headers = &header,
        .header_count = error != NULL ? 1 : 0,
    };
    enum broker_status status = broker_client_publish_acked(
        replier->link.client, &message, published_cb, replier);

    while (status == BROKER_E_BUFFER_FULL) {
        status = link_turn(&replier->link, NULL, 0, -1);
        if (status == BROKER_OK) {
            status = broker_client_publish_acked(
                replier->link.client, &message, published_cb, replier);
        }
    }
    return status == BROKER_OK ? CTL_EXIT_OK
                               : link_failure(&replier->link, status);
}

/* ---- commands ------------------------------------------------------------ */

static void
job_free(struct job *job)
{
    child_fini(&job->child);
    free(job->topic);
    free(job->reply_to);
    *job = (struct job){.child = {.in_fd = -1, .out_fd = -1}};
}

static struct job *
free_job(struct replier *replier)
{
    for (size_t i = 0; i < replier->job_count; i++) {
        if (replier->jobs[i].topic == NULL) {
            return &replier->jobs[i];
        }
    }
    return NULL;
}

static bool
has_jobs(const struct replier *replier)
{
    for (size_t i = 0; i < replier->job_count; i++) {
        if (replier->jobs[i].topic != NULL) {
            return true;
        }
    }
    return false;
}

/* The command failed: tell here, and the one who asked. */
static enum ctl_exit
answer_failure(struct replier *replier, const char *topic, const char *reply_to,
    const struct child *child, const char *why)
{
    const bool fits = child != NULL && !child->too_long;

    say("%s, asked for %s: %s", replier->settings->exec[0], topic, why);
    replier->command_failed = true;
    return answer(replier, reply_to, fits ? child->output : NULL,
        fits ? child->output_len : 0, why);
}

static enum ctl_exit
finish_job(struct replier *replier, struct job *job)
{
    char why[128];
    enum ctl_exit code;

    if (child_succeeded(&job->child, why, sizeof why)) {
        code = answer(replier, job->reply_to, job->child.output,
            job->child.output_len, NULL);
    } else {
        code = answer_failure(
            replier, job->topic, job->reply_to, &job->child, why);
    }
    job_free(job);
    return code;
}

static enum ctl_exit
start_job(struct replier *replier, struct job *job, char *topic, char *reply_to,
    struct broker_bytes payload)
{
    char why[128];
    enum ctl_exit code;
    int error = ENOMEM;

    if (setenv("BROKER_TOPIC", topic, 1) == 0) {
        error = child_start(&job->child, replier->settings->exec, payload.data,
            payload.len, replier->max_payload_bytes);
    }
    if (error == 0) {
        job->topic = topic;
        job->reply_to = reply_to;
        job->deadline_ns = link_deadline_ns(replier->settings->exec_timeout_ns);
        return CTL_EXIT_OK;
    }
    (void)snprintf(why, sizeof why, "cannot run it: %s", strerror(error));
    code = answer_failure(replier, topic, reply_to, NULL, why);
    free(topic);
    free(reply_to);
    return code;
}

/* ---- requests ------------------------------------------------------------ */

static char *
text_of(struct broker_bytes bytes)
{
    return strndup((const char *)bytes.data, bytes.len);
}

static enum ctl_exit
take_request(struct replier *replier, const struct broker_message *message)
{
    char *topic, *reply_to;
    enum ctl_exit code;

    if (message->reply_to.len == 0) {
        say("a message on %.*s wants no answer: ignored",
            (int)message->topic.len, (const char *)message->topic.data);
        return CTL_EXIT_OK;
    }
    topic = text_of(message->topic);
    reply_to = text_of(message->reply_to);
    if (topic == NULL || reply_to == NULL) {
        free(topic);
        free(reply_to);
        say("reply: out of memory");
        return CTL_EXIT_FAILED;
    }
    replier->taken++;
    if (replier->text == NULL) {
        return start_job(
            replier, free_job(replier), topic, reply_to, message->payload);
    }
    code =
        answer(replier, reply_to, replier->text, strlen(replier->text), NULL);
    free(topic);
    free(reply_to);
    return code;
}

static void
take_gap(struct replier *replier, const struct broker_client_gap *gap)
{
    if (gap->reason == BROKER_CLIENT_GAP_ENDED) {
        return; /* that was said, with the reason, as an error */
    }
    replier->gap = true;
    if (gap->count > 0) {
        say("gap: %" PRIu64 " requests are missing (%s)", gap->count,
            broker_client_gap_text(gap->reason));
    } else {
        say("gap: requests may be missing (%s)",
            broker_client_gap_text(gap->reason));
    }
}

/* Gaps come with the requests, in their places; see take_gap(). */
static void
ignore_gap_cb(struct broker_client *client, const struct broker_client_gap *gap,
    void *user)
{
    (void)client;
    (void)gap;
    (void)user;
}

static bool
has_enough(const struct replier *replier)
{
    return replier->settings->count != 0 &&
           replier->taken >= replier->settings->count;
}

/* Take what has arrived, as far as there is somebody to work on it. */
static enum ctl_exit
take_all(struct replier *replier)
{
    enum ctl_exit code = CTL_EXIT_OK;

    while (code == CTL_EXIT_OK && !has_enough(replier) &&
           (replier->text != NULL || free_job(replier) != NULL)) {
        struct broker_client_event *event;
        const enum broker_status status =
            broker_client_next(replier->link.client, 0, &event);

        replier->idle = status == BROKER_E_TIMEOUT;
        if (status == BROKER_E_TIMEOUT || status == BROKER_E_INTERRUPTED) {
            return CTL_EXIT_OK;
        }
        if (status != BROKER_OK) {
            return link_failure(&replier->link, status);
        }
        if (event->kind == BROKER_CLIENT_EVENT_GAP) {
            take_gap(replier, event->gap);
        } else {
            code = take_request(replier, event->message);
        }
        broker_client_event_free(event);
    }
    return code;
}

/* ---- the loop ------------------------------------------------------------ */

/* The first deadline of a running command. */
static uint64_t
jobs_deadline_ns(const struct replier *replier)
{
    uint64_t first_ns = LINK_NEVER;

    for (size_t i = 0; i < replier->job_count; i++) {
        const struct job *job = &replier->jobs[i];

        if (job->topic != NULL && job->deadline_ns < first_ns) {
            first_ns = job->deadline_ns;
        }
    }
    return first_ns;
}

static enum ctl_exit
step_job(struct replier *replier, struct job *job, const struct pollfd *fds)
{
    if (job->topic == NULL) {
        return CTL_EXIT_OK;
    }
    child_step(&job->child, fds);
    if (child_is_done(&job->child)) {
        return finish_job(replier, job);
    }
    if (link_left_ms(job->deadline_ns) == 0) {
        child_kill(&job->child);
        job->deadline_ns = LINK_NEVER;
    }
    return CTL_EXIT_OK;
}

static enum ctl_exit
turn(struct replier *replier)
{
    struct pollfd fds[1 + CHILD_POLL_COUNT * JOBS_MAX];
    enum ctl_exit code = CTL_EXIT_OK;
    enum broker_status status;

    fds[0] = (struct pollfd){.fd = signals_fd(), .events = POLLIN};
    for (size_t i = 0; i < replier->job_count; i++) {
        child_poll(&replier->jobs[i].child, &fds[1 + CHILD_POLL_COUNT * i]);
    }
    status = link_turn(&replier->link, fds,
        1 + CHILD_POLL_COUNT * replier->job_count,
        link_left_ms(jobs_deadline_ns(replier)));
    if (status != BROKER_OK) {
        return link_failure(&replier->link, status);
    }
    if (fds[0].revents != 0) {
        signals_clear();
    }
    for (size_t i = 0; i < replier->job_count && code == CTL_EXIT_OK; i++) {
        code = step_job(
            replier, &replier->jobs[i], &fds[1 + CHILD_POLL_COUNT * i]);
    }
    return code;
}

static void
unsubscribed_cb(struct broker_client *client,
    const struct broker_client_unsubscribed *unsubscribed, void *user)
{
    struct replier *replier = user;

    (void)client;
    (void)unsubscribed;
    replier->ended = true;
}

/* A signal came: no new requests, but those that the broker has handed to this
 * subscription already are answered. */
static void
begin_to_leave(struct replier *replier)
{
    replier->leaving = true;
    if (broker_client_unsubscribe(replier->link.client, replier->subscription,
            true, unsubscribed_cb, replier) != BROKER_OK) {
        replier->ended = true;
    }
}

static bool
is_over(const struct replier *replier)
{
    return !has_jobs(replier) &&
           (has_enough(replier) || (replier->ended && replier->idle));
}

/* Until a signal, or --count. Running commands are waited for: who was promised
 * an answer gets it. */
static enum ctl_exit
serve(struct replier *replier)
{
    for (;;) {
        enum ctl_exit code = take_all(replier);

        if (code != CTL_EXIT_OK) {
            return code;
        }
        /* Taking lets the client work, so look before waiting. */
        if ((signals_stop_wanted() || replier->link.subscription_ended) &&
            !replier->leaving) {
            begin_to_leave(replier);
        }
        if (is_over(replier)) {
            return CTL_EXIT_OK;
        }
        code = turn(replier);
        if (code != CTL_EXIT_OK) {
            return code;
        }
    }
}

/* ---- beginning and end --------------------------------------------------- */

static enum ctl_exit
subscribe(struct replier *replier)
{
    const char *filter = replier->invocation->arguments[0];
    const struct broker_client_subscription subscription = {
        .filter = filter,
        .group = replier->settings->group,
        .no_retained = true,
    };
    const uint32_t timeout_ms =
        duration_to_ms(replier->settings->connect_timeout_ns);
    const enum broker_status status =
        broker_client_subscribe_wait(replier->link.client, &subscription,
            timeout_ms == 0 ? -1 : (int)(timeout_ms & INT32_MAX),
            &replier->subscription, NULL);

    if (status != BROKER_OK) {
        return link_failure_of(&replier->link, filter, status);
    }
    if (replier->link.verbose) {
        say("subscribed %s", filter);
    }
    return CTL_EXIT_OK;
}

static enum ctl_exit
verdict(const struct replier *replier)
{
    if (replier->link.errors > 0) {
        return link_exit_code(replier->link.error);
    }
    if (replier->gap) {
        return CTL_EXIT_GAP;
    }
    if (replier->command_failed) {
        return CTL_EXIT_COMMAND;
    }
    return replier->refused ? link_exit_code(replier->refusal) : CTL_EXIT_OK;
}

static enum ctl_exit
run_connected(struct replier *replier)
{
    struct broker_client_info info;
    enum ctl_exit code;

    broker_client_info(replier->link.client, &info, sizeof info);
    /* What is left for the payload next to the longest topic and the header
     * that marks an error. */
    replier->max_payload_bytes =
        info.max_body_bytes - info.max_topic_bytes - 256u;
    code = subscribe(replier);
    if (code == CTL_EXIT_OK) {
        code = serve(replier);
    }
    for (size_t i = 0; i < replier->job_count; i++) {
        if (replier->jobs[i].topic != NULL) {
            job_free(&replier->jobs[i]);
        }
    }
    if (code == CTL_EXIT_OK && replier->link.lost_ns == 0) {
        code = link_close(&replier->link, LEAVE_NS);
    } else {
        link_drop(&replier->link);
    }
    return code != CTL_EXIT_OK ? code : verdict(replier);
}

static enum ctl_exit
check_settings(const struct invocation *invocation)
{
    const struct reply_settings *settings = invocation->settings;
    const bool text = invocation->argument_count > 1;

    if (text == (settings->exec != NULL)) {
        say("reply: give either a text or --exec COMMAND (see brokerctl reply "
            "--help)");
        return CTL_EXIT_USAGE;
    }
    if (settings->jobs > JOBS_MAX) {
        say("reply: --jobs can be at most %u", JOBS_MAX);
        return CTL_EXIT_USAGE;
    }
    return CTL_EXIT_OK;
}

static enum ctl_exit
open_and_run(struct replier *replier)
{
    const struct link_options link_options = {
        .timeout_ns = replier->settings->connect_timeout_ns,
        .reconnect = !replier->settings->no_reconnect,
        .on_gap = ignore_gap_cb,
    };
    enum ctl_exit code;

    if (!signals_open()) {
        say("reply: cannot catch signals: %s", strerror(errno));
        return CTL_EXIT_FAILED;
    }
    code = link_open(&replier->link, replier->invocation, &link_options);
    if (code == CTL_EXIT_OK) {
        code = run_connected(replier);
    }
    signals_close();
    return code;
}

static enum ctl_exit
run(const struct invocation *invocation)
{
    struct replier replier = {
        .settings = invocation->settings,
        .invocation = invocation,
    };
    enum ctl_exit code = check_settings(invocation);

    if (code != CTL_EXIT_OK) {
        return code;
    }
    if (replier.settings->exec == NULL) {
        replier.text = invocation->arguments[1];
    }
    replier.job_count = (size_t)replier.settings->jobs;
    for (size_t i = 0; i < replier.job_count; i++) {
        replier.jobs[i].child = (struct child){.in_fd = -1, .out_fd = -1};
    }
    return open_and_run(&replier);
}

const struct command cmd_reply = {
    .name = "reply",
    .summary = "Answer requests with a text or with a command's output",
    .arguments = "FILTER (TEXT | --exec COMMAND...)",
    .details =
        "The command gets the request on its standard input and its topic in "
        "the\n"
        "environment variable BROKER_TOPIC; what it prints is the answer. If "
        "it fails,\n"
        "the answer carries the header \"error\" that says why. After SIGINT "
        "or SIGTERM\n"
        "no new requests are taken; those that are here are answered, and the "
        "exit code\n"
        "is 0.\n",
    .min_arguments = 1,
    .max_arguments = 2,
    .options = options,
    .settings_bytes = sizeof(struct reply_settings),
    .defaults = &defaults,
    .exits = CTL_EXIT_BITS_CONNECTED | CTL_EXIT_BIT(GAP) |
             CTL_EXIT_BIT(COMMAND) | CTL_EXIT_BIT(TIMEOUT),
    .run = run,
};
