/*
 * A small site in C, as an application for unirs.
 *
 *     make -C examples/c                      # makes examples/c/libsite.so
 *     unirs examples/c/libsite.so             # serves it at http://127.0.0.1:8000/
 *
 * The interface is crates/unirs-app/include/unirs_app.h: copy that one file into a project of your own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "unirs_app.h"

/* What `start` makes, once in each worker. `call` runs on several threads at once, so it only reads this. */
struct site {
    const unirs_host *host;
    time_t started;
};

static int32_t start(const unirs_host *host, void **state, unirs_error *error)
{
    struct site *site = malloc(sizeof *site);
    if (site == NULL)
        return unirs_fail(error, "no memory for the site");
    site->host = host;
    site->started = time(NULL);
    unirs_log(host, UNIRS_INFO, "the site is open");
    *state = site;
    return UNIRS_OK;
}

static void stop(void *state)
{
    free(state);
}

static int32_t home(const struct site *site, unirs_exchange *exchange)
{
    unirs_bytes page = UNIRS_TEXT("<!doctype html>\n<title>A site in C</title>\n<h1>It works</h1>\n"
                                  "<p><a href=\"/time\">The time</a>, <a href=\"/agent\">your browser</a>\n");
    return unirs_answer(site->host, exchange, 200, "text/html; charset=utf-8", page);
}

static int32_t show_time(const struct site *site, unirs_exchange *exchange)
{
    char text[80];
    snprintf(text, sizeof text, "open for %.0f seconds\n", difftime(time(NULL), site->started));
    return unirs_text(site->host, exchange, 200, text);
}

static int32_t show_agent(const struct site *site, unirs_exchange *exchange)
{
    unirs_bytes agent = unirs_find_known(exchange->request, UNIRS_FIELD_USER_AGENT);
    return unirs_answer(site->host, exchange, 200, "text/plain", agent);
}

static int32_t call(void *state, void *thread, unirs_exchange *exchange)
{
    const struct site *site = state;
    unirs_bytes path = exchange->request->path;
    (void) thread;
    if (unirs_is(path, "/"))
        return home(site, exchange);
    if (unirs_is(path, "/time"))
        return show_time(site, exchange);
    if (unirs_is(path, "/agent"))
        return show_agent(site, exchange);
    return unirs_text(site->host, exchange, 404, "There is no such page.\n");
}

UNIRS_EXPORT const unirs_application *unirs_app(void)
{
    static const unirs_application application = {
        .size = sizeof application, .abi = UNIRS_ABI_VERSION, .name = UNIRS_TEXT("site-c"), .version = UNIRS_TEXT("1.0"),
        .start = start, .call = call, .stop = stop,
    };
    return &application;
}
