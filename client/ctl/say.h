/* SPDX-License-Identifier: MIT
 *
 * What brokerctl tells the person who runs it: lines on standard error, each
 * written whole with one system call. Standard output belongs to out.h.
 *
 * An error says what went wrong and what to do next, in one line.
 */
#ifndef BROKERCTL_SAY_H
#define BROKERCTL_SAY_H

#define SAY_FORMAT(text, arguments)                                            \
    __attribute__((format(printf, text, arguments)))

/* "brokerctl: ..." and a line break; longer texts end in "...". Control
 * characters, which may be in what others have sent, are escaped (escape.h). */
void say(const char *format, ...) SAY_FORMAT(1, 2);

#endif
