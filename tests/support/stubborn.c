/*
 * An application in C for what the suite's Rust one does not do: it sends slowly, hears no signal, ends its process by
 * _exit, and starts only while there is no file `broken` in the working directory. Compiled by support::compile_stubborn.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "unirs_app.h"

static const unirs_host *host;

static int32_t start(const unirs_host *given, void **state, unirs_error *error)
{
    (void)state;
    host = given;
    return access("broken", F_OK) == 0 ? unirs_fail(error, "the file `broken` is there") : UNIRS_OK;
}

static void sleep_ms(long ms)
{
    struct timespec time = { ms / 1000, ms % 1000 * 1000000 };
    while (nanosleep(&time, &time) != 0) {
    }
}

/* So many pieces of a thousand bytes, one each tenth of a second. */
static int32_t drip(unirs_exchange *exchange, int count)
{
    static const char piece[1000] = "drip";
    unirs_response head = unirs_head(200, NULL, 0);
    int32_t result = host->begin(exchange, &head, -1);
    for (; result >= 0 && count > 0; count--) {
        sleep_ms(100);
        result = host->write(exchange, piece, sizeof piece);
    }
    return result < 0 ? result : host->finish(exchange, NULL, 0);
}

static void hear_nothing(void)
{
    int number;
    for (number = 1; number < NSIG; number++)
        signal(number, SIG_IGN);
    for (;;)
        sleep_ms(1000);
}

/* The descriptors that a program has which this process runs. */
static int32_t descriptors_of_a_child(unirs_exchange *exchange)
{
    char text[4096] = "";
    FILE *child = popen("for fd in /proc/self/fd/*; do [ -e $fd ] && echo ${fd##*/}; done; true", "r");
    size_t length = child ? fread(text, 1, sizeof text - 1, child) : 0;
    text[length] = 0;
    if (child)
        pclose(child);
    return unirs_text(host, exchange, 200, text);
}

static int32_t call(void *state, void *thread, unirs_exchange *exchange)
{
    unirs_bytes path = exchange->request->path;
    char pid[16];
    (void)state;
    (void)thread;
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    if (unirs_is(path, "/pid"))
        return unirs_text(host, exchange, 200, pid);
    if (unirs_begins(path, "/exit/"))
        _exit(path.data[path.len - 1] - '0');
    if (unirs_is(path, "/drip"))
        return drip(exchange, 80);
    if (unirs_is(path, "/deaf"))
        hear_nothing();
    if (unirs_is(path, "/child-fds"))
        return descriptors_of_a_child(exchange);
    return unirs_text(host, exchange, 200, "served");
}

static const unirs_application table =
    { .size = sizeof table, .abi = UNIRS_ABI_VERSION, .start = start, .call = call };

const unirs_application *unirs_app(void)
{
    return &table;
}
