/*
 * An application in C that is stuck in a function with a name, in every way that a time limit has to deal with. The suite
 * compiles it with a table of functions around (support::compile_c).
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static void __attribute__((noinline)) lock_the_cart(void)
{
    struct timespec time = { 1, 0 };
    for (;;)
        nanosleep(&time, NULL);
}

/* A function as a compiler of C++ would name it: void cart::lock(int). */
void lock_in_cpp(int number) __asm__("_ZN4cart4lockEi");
void __attribute__((noinline)) lock_in_cpp(int number)
{
    struct timespec time = { number, 0 };
    for (;;)
        nanosleep(&time, NULL);
}

/* Says that it is there, and waits for the file `release`. */
static void wait_for_release(unirs_exchange *exchange)
{
    static int waiting;
    struct timespec time = { 0, 10000000 };
    char name[32];
    host->extend(exchange, 600);
    snprintf(name, sizeof name, "waiting-%d", __sync_add_and_fetch(&waiting, 1));
    close(open(name, O_CREAT | O_WRONLY, 0644));
    while (access("release", F_OK) != 0)
        nanosleep(&time, NULL);
}

static int32_t call(void *state, void *thread, unirs_exchange *exchange)
{
    unirs_bytes path = exchange->request->path;
    char pid[16];
    sigset_t all;
    (void)state;
    (void)thread;
    if (unirs_is(path, "/begun")) {
        unirs_response head = unirs_head(200, NULL, 0);
        host->begin(exchange, &head, -1);
        host->write(exchange, "begun", 5);
        host->flush(exchange);
        lock_the_cart();
    }
    if (unirs_is(path, "/ignored"))
        signal(SIGABRT, SIG_IGN);
    if (unirs_is(path, "/blocked")) {
        sigfillset(&all);
        pthread_sigmask(SIG_BLOCK, &all, NULL);
    }
    if (unirs_is(path, "/stuck-in-cpp"))
        lock_in_cpp(1);
    if (unirs_is(path, "/wait"))
        wait_for_release(exchange);
    if (unirs_is(path, "/stuck") || unirs_is(path, "/ignored") || unirs_is(path, "/blocked"))
        lock_the_cart();
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    return unirs_text(host, exchange, 200, pid);
}
