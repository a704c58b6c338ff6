/* SPDX-License-Identifier: MIT
 *
 * How received messages are printed; see printer.h.
 */
#include "printer.h"

#include "message_text.h"
#include "say.h"

static enum ctl_exit
complain(const struct invocation *of, const char *what)
{
    say("%s: %s (see brokerctl %s --help)", of->command->name, what,
        of->command->name);
    return CTL_EXIT_USAGE;
}

enum ctl_exit
printer_init(struct printer *printer, const struct printer_settings *settings,
    const struct invocation *of)
{
    const int shapes =
        settings->raw + settings->json + (settings->format != NULL);
    char why[FORMAT_WHY_MAX];

    *printer = (struct printer){.settings = settings, .out = of->out};
    if (shapes > 1) {
        return complain(
            of, "--raw, --json and --format exclude each other: choose one");
    }
    if (shapes > 0 && (settings->topic || settings->headers)) {
        return complain(of,
            "--topic and --headers go with lines only: leave out --raw, "
            "--json and --format");
    }
    if (settings->format != NULL &&
        !format_parse(settings->format, &printer->format, why)) {
        say("%s: --format \"%s\": %s", of->command->name, settings->format,
            why);
        return CTL_EXIT_USAGE;
    }
    return CTL_EXIT_OK;
}

void
printer_fini(struct printer *printer)
{
    format_free(&printer->format);
}

static void
print_line(struct printer *printer, const struct broker_message *message)
{
    struct out *out = printer->out;

    if (printer->settings->topic) {
        out_peer_name(out, message->topic.data, message->topic.len);
        out_text(out, " ");
    }
    if (printer->settings->headers) {
        out_text(out, "[");
        message_write_headers(out, message);
        out_text(out, "] ");
    }
    out_peer_text(out, message->payload.data, message->payload.len);
    out_text(out, "\n");
}

void
printer_message(struct printer *printer, const struct broker_message *message)
{
    struct out *out = printer->out;

    printer->count++;
    if (printer->settings->raw) {
        out_write(out, message->payload.data, message->payload.len);
    } else if (printer->settings->json) {
        message_write_json(out, message);
        out_text(out, "\n");
    } else if (printer->settings->format != NULL) {
        format_write(&printer->format, out, message, printer->count);
    } else {
        print_line(printer, message);
    }
}

void
printer_gap(struct printer *printer, const struct broker_client_gap *gap,
    const char *const *filters)
{
    if (printer->settings->json) {
        message_write_gap_json(printer->out, gap, filters);
        out_text(printer->out, "\n");
    }
}

void
printer_help_formats(struct out *out)
{
    const char *meaning;
    char letter;

    out_text(out, "\nFields of a format:\n");
    for (size_t i = 0; format_letter_at(i, &letter, &meaning); i++) {
        out_printf(out, "  %%%c      %s\n", letter, meaning);
    }
    out_text(out,
        "  %{key}  value of the header with this key\n"
        "  Escapes: \\n \\t \\r \\0 \\\\ \\\" \\xHH. Nothing is added, no line "
        "break either.\n");
}
