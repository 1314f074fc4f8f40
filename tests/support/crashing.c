/*
 * An application in C that ends its process in every way that there is, in the middle of a request. Compiled by
 * tests/crashes.rs.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "unirs_app.h"

static const unirs_host *host;

static int32_t start(const unirs_host *given, void **state, unirs_error *error)
{
    (void)state; (void)error;
    host = given;
    return UNIRS_OK;
}

static void write_nowhere(void)
{
    *(volatile char *)16 = 1;
}

static void jump_nowhere(void)
{
    void (*volatile nowhere)(void) = (void (*)(void))32;
    nowhere();
}

/* A page of a file that has none. */
static void read_past_end(void)
{
    FILE *file = tmpfile();
    volatile char *page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fileno(file), 0);
    (void)*page;
}

static void divide(void)
{
    volatile int zero = 0, one = 1;
#if defined(__x86_64__)
    one = one / zero;
#else
    raise(SIGFPE);
    (void)zero;
#endif
}

static int overflow(volatile int depth)
{
    volatile char frame[4096];
    frame[0] = (char)depth;
    return depth < 0 ? 0 : overflow(depth + 1) + frame[0];
}

static void *crash_elsewhere(void *unused)
{
    (void)unused;
    write_nowhere();
    return NULL;
}

static void crash(const char *how, size_t len)
{
    if (strncmp(how, "segv", len) == 0) write_nowhere();
    if (strncmp(how, "jump", len) == 0) jump_nowhere();
    if (strncmp(how, "bus", len) == 0) read_past_end();
    if (strncmp(how, "fpe", len) == 0) divide();
    if (strncmp(how, "ill", len) == 0) __builtin_trap();
    if (strncmp(how, "abort", len) == 0) abort();
    if (strncmp(how, "raise", len) == 0) raise(SIGSEGV);
    if (strncmp(how, "overflow", len) == 0) overflow(0);
    if (strncmp(how, "exit0", len) == 0) exit(0);
    if (strncmp(how, "exit7", len) == 0) exit(7);
    if (strncmp(how, "elsewhere", len) == 0) {
        pthread_t thread;
        pthread_create(&thread, NULL, crash_elsewhere, NULL);
        pthread_join(thread, NULL);
    }
}

/* Sleeps on until there is a file of this name in the working directory. */
static void wait_for(const char *file)
{
    while (access(file, F_OK) != 0)
        usleep(10000);
}

/* Answers when it is too late, and writes down what the host says to that. */
static int32_t answer_late(unirs_exchange *exchange)
{
    FILE *file;
    int32_t result;
    wait_for("go-on");
    result = unirs_text(host, exchange, 200, "too late");
    file = fopen("result.new", "w");
    fprintf(file, "%d", (int)result);
    fclose(file);
    rename("result.new", "result");
    return result;
}

static int32_t call(void *state, void *thread, unirs_exchange *exchange)
{
    static const char half[] = "half";
    unirs_bytes path = exchange->request->path;
    unirs_response head = unirs_head(200, NULL, 0);
    char pid[16];
    (void)state; (void)thread;
    if (unirs_begins(path, "/crash/"))
        crash(path.data + 7, path.len - 7);
    if (unirs_is(path, "/streaming")) {
        host->begin(exchange, &head, -1);
        host->write(exchange, half, sizeof half - 1);
        host->flush(exchange);
        write_nowhere();
    }
    if (unirs_is(path, "/late"))
        return answer_late(exchange);
    if (unirs_is(path, "/wait"))
        wait_for("answer");
    if (unirs_is(path, "/streaming-stuck")) {
        host->begin(exchange, &head, -1);
        host->write(exchange, half, sizeof half - 1);
        host->flush(exchange);
        wait_for("never");
    }
    if (unirs_is(path, "/answered-stuck")) {
        unirs_text(host, exchange, 201, "in time");
        wait_for("never");
    }
    if (unirs_is(path, "/answered")) {
        unirs_text(host, exchange, 201, "in time");
        write_nowhere();
    }
    if (unirs_is(path, "/bad-body")) {
        unirs_bytes body = { (const char *)4096, 10000 };
        unirs_response response = head;
        response.body = &body;
        response.body_count = 1;
        host->respond(exchange, &response);
    }
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    return unirs_text(host, exchange, 200, pid);
}

static const unirs_application table =
    { .size = sizeof table, .abi = UNIRS_ABI_VERSION, .start = start, .call = call };

const unirs_application *unirs_app(void)
{
    return &table;
}
