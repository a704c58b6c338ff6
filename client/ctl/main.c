/* SPDX-License-Identifier: MIT
 *
 * brokerctl: the command line client of brokerd. Everything is in cmd.c; this
 * only owns standard output and turns its failures into an exit code.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"
#include "say.h"

/* Flush what is left. A reader that went away is no error: it has what it
 * wanted. */
static enum ctl_exit
finish_output(struct out *out, enum ctl_exit code)
{
    int failed;

    out_flush(out);
    failed = out_failed(out);
    out_fini(out);
    if (failed == 0 || failed == EPIPE) {
        return code;
    }
    say("cannot write to standard output: %s", strerror(failed));
    return CTL_EXIT_OUTPUT;
}

int
main(int argc, char **argv)
{
    struct out out;
    enum ctl_exit code;

    /* A closed pipe is seen where it is written to. */
    (void)signal(SIGPIPE, SIG_IGN);
    out_init(&out, STDOUT_FILENO);
    code = cmd_main(&out, argv + (argc > 0), argc > 0 ? (size_t)argc - 1 : 0);
    return (int)finish_output(&out, code);
}
