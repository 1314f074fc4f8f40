/*
 * An application in C that writes over what its worker shares with the master: its slot of the scoreboard, and its area
 * of the ledger of last words.
 * tests/scribble.rs compiles it, with a table of functions around.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void sleep_ms(long ms)
{
    struct timespec time = { ms / 1000, ms % 1000 * 1000000 };
    while (nanosleep(&time, &time) != 0) {
    }
}

/* One mapping of the worker that it shares and may write; 0 when there is no more. */
static int next(FILE *maps, const char *name, uint64_t **start, uint64_t **end)
{
    char line[512], protection[8];
    unsigned long from, to;
    while (fgets(line, sizeof line, maps))
        if (strstr(line, name) && sscanf(line, "%lx-%lx %7s", &from, &to, protection) == 3 && protection[1] == 'w') {
            *start = (uint64_t *)from;
            *end = (uint64_t *)to;
            return 1;
        }
    return 0;
}

enum { RANDOM = -1 };

static void fill(const char *name, long value)
{
    uint64_t *word, *end;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (next(maps, name, &word, &end))
        for (; word < end; word++)
            *(volatile uint64_t *)word = value == RANDOM ? (uint64_t)mrand48() << (mrand48() & 63) : (uint64_t)value;
    fclose(maps);
}

static void fill_all(long value)
{
    fill("/memfd:unirs-last-words", value);
    fill("/memfd:unirs-scoreboard", value);
}

static void *scribble_for_ever(void *nothing)
{
    (void)nothing;
    for (;;) {
        fill_all(RANDOM);
        sleep_ms(20);
    }
    return NULL;
}

/* Where this thread's lane has its id stands another; and the call is older than any limit allows. */
static void name_a_foreign_thread(long thread)
{
    uint64_t *word, *end, own = (uint64_t)syscall(SYS_gettid);
    FILE *maps = fopen("/proc/self/maps", "r");
    while (next(maps, "/memfd:unirs-scoreboard", &word, &end))
        for (; word < end; word++)
            if (*word == own && word[-2] != 0) {
                *(volatile uint64_t *)word = (uint64_t)thread;
                *(volatile uint64_t *)(word - 2) = 1;
            }
    fclose(maps);
}

/* Waits for Ready, which is a 2 in the first word, makes that absurd, and takes the file away. */
static void *scribble_at_once(void *file)
{
    uint64_t *word, *end;
    FILE *maps = fopen("/proc/self/maps", "r");
    if (next(maps, "/memfd:unirs-scoreboard", &word, &end)) {
        while (*(volatile uint64_t *)word != 2)
            sleep_ms(1);
        *(volatile uint64_t *)word = INT64_MAX;
        unlink(file);
    }
    fclose(maps);
    return NULL;
}

/* A worker that can take the file away boots no further until it is there again. */
__attribute__((constructor)) static void be_hasty(void)
{
    pthread_t scribbler;
    char *file = getenv("HASTY");
    if (file == NULL || unlink(file) != 0)
        return;
    while (access(file, F_OK) != 0)
        sleep_ms(1);
    pthread_create(&scribbler, NULL, scribble_at_once, file);
}

static int32_t call(void *state, void *thread, unirs_exchange *exchange)
{
    unirs_bytes path = exchange->request->path;
    char text[16];
    pthread_t scribbler;
    (void)state;
    (void)thread;
    if (unirs_begins(path, "/fill/")) {
        fill_all(atol((const char *)path.data + 6));
        sleep_ms(300);
    }
    if (unirs_is(path, "/for-ever")) {
        srand48(getpid());
        pthread_create(&scribbler, NULL, scribble_for_ever, NULL);
    }
    if (unirs_begins(path, "/foreign/")) {
        name_a_foreign_thread(atol((const char *)path.data + 9));
        for (;;)
            sleep_ms(1000);
    }
    if (unirs_is(path, "/stuck"))
        for (;;)
            sleep_ms(1000);
    snprintf(text, sizeof text, "%d", (int)getpid());
    return unirs_text(host, exchange, 200, text);
}
