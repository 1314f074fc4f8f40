/*
 * unirs_app.h: the interface between unirs and an application in a shared library, version 1.
 *
 * Self-contained, C99 and C++11. A library includes this file, links against nothing of unirs, and exports one function:
 *
 *     static int32_t call(void *state, void *thread, unirs_exchange *exchange)
 *     {
 *         return unirs_text(host, exchange, 200, "Hello, World!\n");
 *     }
 *
 *     static const unirs_application table = {
 *         .size = sizeof table, .abi = UNIRS_ABI_VERSION, .name = UNIRS_TEXT("hello"), .start = start, .call = call,
 *     };
 *
 *     const unirs_application *unirs_app(void) { return &table; }
 *
 *     cc -shared -fPIC -o libhello.so hello.c
 *
 * Rules of both sides:
 *
 * - Every struct that crosses begins with its size, and whoever reads one looks at it before a field that came after
 *   version 1. unirs_bytes and unirs_field are elements of arrays and never grow.
 * - What the host passes is valid until the call returns; the request, and what it points to, until its exchange is over;
 *   the host's table and its strings as long as the process. Nobody frees what the other side made.
 * - No exception and no longjmp crosses; `call` returns on the thread on which it was called.
 * - The server takes signals on any thread: a system call of the application may be interrupted (EINTR) and is to be
 *   repeated. A child that is forked and does not exec keeps the server's sockets open: exec, or leave soon.
 * - A function that is null is absent: see UNIRS_HAS.
 */
#ifndef UNIRS_APP_H
#define UNIRS_APP_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/** The version of this interface. The host refuses an application that speaks another one. */
#define UNIRS_ABI_VERSION 1u

/* ---- Results: zero or more is success, a negative number says what went wrong ---- */

/** Done. */
#define UNIRS_OK 0
/** The client has gone, or the connection broke. */
#define UNIRS_GONE (-1)
/** The request's body is larger than `limit_request_body`. */
#define UNIRS_TOO_LARGE (-2)
/** The client was too slow: `body_timeout` or `write_timeout` is over. */
#define UNIRS_TIMED_OUT (-3)
/** The request's body breaks its own framing. */
#define UNIRS_MALFORMED (-4)
/** Nothing is there now (only where the call was asked not to wait). */
#define UNIRS_WOULD_BLOCK (-5)
/** This exchange has an answer already, or the answer is finished. */
#define UNIRS_ANSWERED (-6)
/** `write`, `flush` or `finish` before `begin`. */
#define UNIRS_NOT_BEGUN (-7)
/** A status, field, descriptor or argument that cannot be sent. */
#define UNIRS_INVALID (-8)
/** More bytes than were declared, or fewer at `finish`. */
#define UNIRS_LENGTH (-9)
/** This host does not do that (yet). */
#define UNIRS_UNSUPPORTED (-10)
/** An application's function failed; the text is in the unirs_error. */
#define UNIRS_FAILED (-11)

/* ---- Levels of unirs_host.log ---- */

/** For developers. */
#define UNIRS_DEBUG 0u
/** Worth knowing. */
#define UNIRS_INFO 1u
/** Worth a look. */
#define UNIRS_WARNING 2u
/** Something failed. */
#define UNIRS_ERROR 3u
/** The service is at risk. */
#define UNIRS_CRITICAL 4u

/* ---- Flags of unirs_application.flags; the host refuses a flag it does not know ---- */

/** `call` is made by one thread at a time. */
#define UNIRS_SERIAL UINT64_C(1)
/** `hook` is told of each request (UNIRS_PRE_REQUEST, UNIRS_POST_REQUEST) too. */
#define UNIRS_REQUEST_HOOKS UINT64_C(2)

/* ---- Kinds of unirs_application.hook; an application ignores a kind it does not know ---- */

/** The worker is about to become ready. */
#define UNIRS_POST_WORKER_INIT 1u
/** A request is about to be answered. Only with UNIRS_REQUEST_HOOKS. */
#define UNIRS_PRE_REQUEST 2u
/** A request was answered. Only with UNIRS_REQUEST_HOOKS. */
#define UNIRS_POST_REQUEST 3u
/** The worker leaves quickly (INT, QUIT). */
#define UNIRS_WORKER_INT 4u
/** A call of this worker is over its time; runs on another thread than that call. */
#define UNIRS_WORKER_ABORT 5u
/** The worker leaves; the last thing before `stop`. */
#define UNIRS_WORKER_EXIT 6u

/* ---- The numbers of well-known header fields (unirs_field.known); 0 is any other ---- */

#define UNIRS_FIELD_ACCEPT 1u
#define UNIRS_FIELD_ACCEPT_CHARSET 2u
#define UNIRS_FIELD_ACCEPT_ENCODING 3u
#define UNIRS_FIELD_ACCEPT_LANGUAGE 4u
#define UNIRS_FIELD_AUTHORIZATION 5u
#define UNIRS_FIELD_CACHE_CONTROL 6u
#define UNIRS_FIELD_CONNECTION 7u
#define UNIRS_FIELD_CONTENT_DISPOSITION 8u
#define UNIRS_FIELD_CONTENT_ENCODING 9u
#define UNIRS_FIELD_CONTENT_LANGUAGE 10u
#define UNIRS_FIELD_CONTENT_LENGTH 11u
#define UNIRS_FIELD_CONTENT_TYPE 12u
#define UNIRS_FIELD_COOKIE 13u
#define UNIRS_FIELD_DATE 14u
#define UNIRS_FIELD_DNT 15u
#define UNIRS_FIELD_ETAG 16u
#define UNIRS_FIELD_EXPECT 17u
#define UNIRS_FIELD_FORWARDED 18u
#define UNIRS_FIELD_FROM 19u
#define UNIRS_FIELD_HOST 20u
#define UNIRS_FIELD_IF_MATCH 21u
#define UNIRS_FIELD_IF_MODIFIED_SINCE 22u
#define UNIRS_FIELD_IF_NONE_MATCH 23u
#define UNIRS_FIELD_IF_RANGE 24u
#define UNIRS_FIELD_IF_UNMODIFIED_SINCE 25u
#define UNIRS_FIELD_KEEP_ALIVE 26u
#define UNIRS_FIELD_ORIGIN 27u
#define UNIRS_FIELD_PRAGMA 28u
#define UNIRS_FIELD_RANGE 29u
#define UNIRS_FIELD_REFERER 30u
#define UNIRS_FIELD_TE 31u
#define UNIRS_FIELD_TRAILER 32u
#define UNIRS_FIELD_TRANSFER_ENCODING 33u
#define UNIRS_FIELD_UPGRADE 34u
#define UNIRS_FIELD_UPGRADE_INSECURE_REQUESTS 35u
#define UNIRS_FIELD_USER_AGENT 36u
#define UNIRS_FIELD_VIA 37u
#define UNIRS_FIELD_X_FORWARDED_FOR 38u
#define UNIRS_FIELD_X_FORWARDED_PROTO 39u
#define UNIRS_FIELD_X_REQUEST_ID 40u

/* ---- What crosses ---- */

/** A run of bytes that belongs to somebody else; not terminated. Never grows. */
typedef struct unirs_bytes {
    /** The first byte; may be null when `len` is 0. */
    const char *data;
    /** How many there are. */
    size_t len;
} unirs_bytes;

/** A header field. Never grows. */
typedef struct unirs_field {
    /** Lower-case in requests; as it shall be sent in responses. */
    unirs_bytes name;
    /** Without the white space around it. */
    unirs_bytes value;
    /** Its UNIRS_FIELD number, or 0. Ignored in responses. */
    uint32_t known;
    /** Zero. */
    uint32_t reserved;
} unirs_field;

/** A place for the text of an error, lent by the host; the application copies its text there (see unirs_fail). */
typedef struct unirs_error {
    /** sizeof(unirs_error) of whoever made it. */
    uint32_t size;
    /** Zero. */
    uint32_t reserved;
    /** Where the text goes (UTF-8, not terminated). */
    char *text;
    /** How many bytes fit. */
    size_t capacity;
    /** How many were written. */
    size_t len;
} unirs_error;

/** Who the worker is. */
typedef struct unirs_worker {
    /** sizeof(unirs_worker) of whoever made it. */
    uint32_t size;
    /** Its slot: below the number of workers, but for reloads. UINT32_MAX in a process that is no worker: see post_fork. */
    uint32_t slot;
    /** The number of its generation; 1 is the first. */
    uint64_t generation;
    /** How many threads may be in `call` at once. */
    uint32_t threads;
    /** How many workers its generation is meant to have. */
    uint32_t workers;
    /** Its process id. */
    int32_t pid;
    /** Zero. */
    uint32_t reserved;
} unirs_worker;

/** A request, whole but for its body. Valid until its exchange is over. */
typedef struct unirs_request {
    /** sizeof(unirs_request) of whoever made it. */
    uint32_t size;
    /** 10 for HTTP/1.0, 11 for HTTP/1.1. */
    uint32_t http_version;
    /** As sent; a token. */
    unirs_bytes method;
    /** The request target as sent. */
    unirs_bytes target;
    /** The path, percent-decoded once; any bytes, so it may have a zero in it. */
    unirs_bytes path;
    /** The path as sent. */
    unirs_bytes raw_path;
    /** What follows the first `?`; `data` is null when there is none. */
    unirs_bytes query;
    /** `http` or `https`. */
    unirs_bytes scheme;
    /** Host and port as the client named them; may be empty. */
    unirs_bytes authority;
    /** The path under which the application is mounted; empty at the root. */
    unirs_bytes prefix;
    /** The header fields in the order in which they were sent. */
    const unirs_field *fields;
    /** How many. */
    size_t field_count;
    /** The client's address as text, without a port; empty for a unix socket. */
    unirs_bytes peer_address;
    /** The address of the connection itself, where a proxy stands between. */
    unirs_bytes connection_address;
    /** The server's address as text. */
    unirs_bytes server_address;
    /** The client's port. */
    uint32_t peer_port;
    /** The port of the connection itself. */
    uint32_t connection_port;
    /** The server's port. */
    uint32_t server_port;
    /** Which of the server's binds, counted from 0. */
    uint32_t listener;
    /** The length of the body in bytes; -1 when it is not known before the end. */
    int64_t content_length;
    /** When the request's first byte was read: nanoseconds since 1970. */
    uint64_t arrived_at_ns;
    /** How long the complete request waited for its call, in nanoseconds. */
    uint64_t queued_ns;
} unirs_request;

/** One request and its answer. What follows these fields belongs to the host. */
typedef struct unirs_exchange {
    /** sizeof(unirs_exchange) of whoever made it. */
    uint32_t size;
    /** Zero. */
    uint32_t reserved;
    /** The request; valid until the exchange is over. */
    const unirs_request *request;
} unirs_exchange;

/** The head of an answer, and its body where that is whole. Made by the application, read during the function. */
typedef struct unirs_response {
    /** sizeof(unirs_response). */
    uint32_t size;
    /** 200 to 599. */
    uint32_t status;
    /** Empty: the standard phrase. */
    unirs_bytes reason;
    /** The header fields; the framing of the body, Connection, Date and Server are the host's own. */
    const unirs_field *fields;
    /** How many. */
    size_t field_count;
    /** The slices of the body, in order; only read by `respond`. */
    const unirs_bytes *body;
    /** How many. */
    size_t body_count;
} unirs_response;

/** What the host does for an application. It lives as long as the process; so do its strings. */
typedef struct unirs_host {
    /** sizeof(unirs_host) of whoever made it. */
    uint32_t size;
    /** The interface's version. */
    uint32_t abi;
    /** The host's name and version, such as `unirs/0.1.0`. */
    unirs_bytes software;
    /** Who the worker is. */
    const unirs_worker *worker;
    /** The application's table of the settings file, as JSON text: an object. */
    unirs_bytes config;
    /** Writes a line to the error log; any thread. `target` says which part speaks, and may be empty. */
    void (*log)(uint32_t level, const char *target, size_t target_len, const char *text, size_t text_len);
    /**
     * A counter by name, registered at its first mention and shared by all threads of the worker: a 64-bit word to which the
     * application adds atomically. Null when there is no room.
     */
    uint64_t *(*counter)(const char *name, size_t name_len);
    /** The value of a request's field by its name in any case; the first one. 1 when there is one, else 0. */
    int32_t (*field)(unirs_exchange *exchange, const char *name, size_t name_len, unirs_bytes *value);
    /** Sixteen bytes of text or so that name the exchange in all logs. */
    int32_t (*request_id)(unirs_exchange *exchange, unirs_bytes *id);
    /**
     * Reads of the body into `buffer`: how many bytes, 0 at the end, or a code. Waits, within `body_timeout`, unless `wait`
     * is 0.
     */
    int64_t (*read)(unirs_exchange *exchange, void *buffer, size_t capacity, uint32_t wait);
    /** The whole body as one slice, without a copy, when the host has all of it and none was read: 1, else 0. */
    int32_t (*body)(unirs_exchange *exchange, unirs_bytes *body);
    /** Answers whole. */
    int32_t (*respond)(unirs_exchange *exchange, const unirs_response *response);
    /**
     * Answers with `length` bytes of a regular file from `offset`. The descriptor is the host's from then on, whatever the
     * result.
     */
    int32_t (*respond_file)(unirs_exchange *exchange, const unirs_response *response, int32_t descriptor, uint64_t offset,
                            uint64_t length);
    /** Begins a streamed answer of `length` bytes; -1 when that is not known. */
    int32_t (*begin)(unirs_exchange *exchange, const unirs_response *response, int64_t length);
    /** Sends more of a streamed answer: returns when the bytes were taken over. */
    int32_t (*write)(unirs_exchange *exchange, const char *data, size_t len);
    /** Sends what was taken over and not sent yet, as far as the client takes it. */
    int32_t (*flush)(unirs_exchange *exchange);
    /** Ends a streamed answer. Trailers are sent where the answer is chunked, else dropped. */
    int32_t (*finish)(unirs_exchange *exchange, const unirs_field *trailers, size_t trailer_count);
    /** Sends a 103 response with these fields, before the answer; nothing to an HTTP/1.0 client. */
    int32_t (*early_hints)(unirs_exchange *exchange, const unirs_field *fields, size_t field_count);
    /**
     * Asks for `notice(argument, result)` after the last byte of the answer has gone (result 0) or the connection has died
     * (a code); on any thread, at most once, perhaps after `call` has returned. Asked for before the answer.
     */
    int32_t (*on_finished)(unirs_exchange *exchange, void (*notice)(void *argument, int32_t result), void *argument);
    /** 1 when nobody waits for the answer any more: the client has gone. */
    int32_t (*cancelled)(unirs_exchange *exchange);
    /** This call will be silent for up to `seconds` more; `timeout` waits for so long. */
    int32_t (*extend)(unirs_exchange *exchange, uint32_t seconds);
    /** Null; later: deferred answers and upgrades. */
    const void *reserved[8];
} unirs_host;

/** What a library exports: who it is and what it does. A function that is absent (null) is not called. */
typedef struct unirs_application {
    /** sizeof(unirs_application). */
    uint32_t size;
    /** UNIRS_ABI_VERSION. */
    uint32_t abi;
    /** The application's name. */
    unirs_bytes name;
    /** Its version. */
    unirs_bytes version;
    /** UNIRS_SERIAL and UNIRS_REQUEST_HOOKS, or 0. */
    uint64_t flags;
    /** The stack that each thread in `call` needs, in bytes; 0: the host's default. */
    uint64_t stack_size;
    /**
     * Of a library with a lock of its own: a 32-bit counter, changed atomically, of its threads that wait for it. Null:
     * none.
     */
    const uint32_t *waiters;
    /**
     * Makes the application's state, before the first request. UNIRS_OK, or unirs_fail(error, text). With `preload_app` it
     * runs once for all workers, in a process that forks them and serves nobody; it may start no thread there.
     */
    int32_t (*start)(const unirs_host *host, void **state, unirs_error *error);
    /** With `preload_app`: before a worker is forked from the process that ran `start`. */
    void (*before_fork)(void *state);
    /** With `preload_app`: in that process, after the fork. */
    void (*after_fork_parent)(void *state);
    /** With `preload_app`: in the new worker; connections and threads made anew. */
    int32_t (*post_fork)(void *state, const unirs_worker *worker, unirs_error *error);
    /** First thing on each thread that will be in `call`; `*thread` is given to it. */
    int32_t (*thread_start)(void *state, uint32_t number, void **thread);
    /** Last thing on such a thread. */
    void (*thread_stop)(void *state, void *thread);
    /** 1 when the application can serve, 0 when it cannot (yet). */
    int32_t (*ready)(void *state);
    /** Answers a request. Required. UNIRS_OK, or UNIRS_FAILED, which is a 500 where nothing was answered. */
    int32_t (*call)(void *state, void *thread, unirs_exchange *exchange);
    /** Something happened: UNIRS_POST_WORKER_INIT and so on. `facts` may be null. */
    void (*hook)(void *state, uint32_t kind, const void *facts);
    /** Last call of all; no other is under way. The process then ends without running static destructors. */
    void (*stop)(void *state);
} unirs_application;

#if defined(__GNUC__)
#define UNIRS_EXPORT __attribute__((visibility("default")))
#else
#define UNIRS_EXPORT
#endif

/** What a library defines: returns its table, which lives as long as the process. */
UNIRS_EXPORT const unirs_application *unirs_app(void);

/* ---- Helpers for applications; none of them crosses ---- */

/** Whether a table of the host has a function: it is not null, and the table is large enough to have it. */
#define UNIRS_HAS(host, function) \
    ((host)->size >= offsetof(unirs_host, function) + sizeof((host)->function) && (host)->function != 0)

/** A literal as an initializer of unirs_bytes. */
#define UNIRS_TEXT(literal) { literal, sizeof(literal) - 1 }

/** A terminated string as bytes. */
static inline unirs_bytes unirs_string(const char *text)
{
    unirs_bytes bytes;
    bytes.data = text;
    bytes.len = strlen(text);
    return bytes;
}

/** Whether bytes are this text. */
static inline int unirs_is(unirs_bytes bytes, const char *text)
{
    size_t len = strlen(text);
    return bytes.len == len && (len == 0 || memcmp(bytes.data, text, len) == 0);
}

/** Whether bytes begin with this text. */
static inline int unirs_begins(unirs_bytes bytes, const char *text)
{
    size_t len = strlen(text);
    return bytes.len >= len && (len == 0 || memcmp(bytes.data, text, len) == 0);
}

/** A header field of an answer. */
static inline unirs_field unirs_header(const char *name, const char *value)
{
    unirs_field field;
    field.name = unirs_string(name);
    field.value = unirs_string(value);
    field.known = 0;
    field.reserved = 0;
    return field;
}

/** The value of a request's first field with this name, which is lower-case; `data` is null when there is none. */
static inline unirs_bytes unirs_find(const unirs_request *request, const char *name)
{
    unirs_bytes none = { 0, 0 };
    size_t i;
    for (i = 0; i < request->field_count; i++)
        if (unirs_is(request->fields[i].name, name))
            return request->fields[i].value;
    return none;
}

/** The value of a request's first field with this UNIRS_FIELD number; `data` is null when there is none. */
static inline unirs_bytes unirs_find_known(const unirs_request *request, uint32_t known)
{
    unirs_bytes none = { 0, 0 };
    size_t i;
    for (i = 0; i < request->field_count; i++)
        if (request->fields[i].known == known)
            return request->fields[i].value;
    return none;
}

/** The head of an answer, for `begin` and `respond_file`. The fields are lent: they live until the answer is given. */
static inline unirs_response unirs_head(uint32_t status, const unirs_field *fields, size_t field_count)
{
    unirs_response response;
    memset(&response, 0, sizeof response);
    response.size = (uint32_t) sizeof response;
    response.status = status;
    response.fields = fields;
    response.field_count = field_count;
    return response;
}

/** Answers with these fields and this body. */
static inline int32_t unirs_respond(const unirs_host *host, unirs_exchange *exchange, uint32_t status,
                                    const unirs_field *fields, size_t field_count, unirs_bytes body)
{
    unirs_response response = unirs_head(status, fields, field_count);
    response.body = &body;
    response.body_count = 1;
    return UNIRS_HAS(host, respond) ? host->respond(exchange, &response) : UNIRS_UNSUPPORTED;
}

/** Answers with a body of this type, such as `text/html; charset=utf-8`. */
static inline int32_t unirs_answer(const unirs_host *host, unirs_exchange *exchange, uint32_t status, const char *type,
                                   unirs_bytes body)
{
    unirs_field field = unirs_header("content-type", type);
    return unirs_respond(host, exchange, status, &field, 1, body);
}

/** Answers with plain text, a terminated string. */
static inline int32_t unirs_text(const unirs_host *host, unirs_exchange *exchange, uint32_t status, const char *text)
{
    return unirs_answer(host, exchange, status, "text/plain; charset=utf-8", unirs_string(text));
}

/** Writes a line, a terminated string, to the error log. */
static inline void unirs_log(const unirs_host *host, uint32_t level, const char *text)
{
    if (UNIRS_HAS(host, log))
        host->log(level, "", 0, text, strlen(text));
}

/** Says why `start` or `post_fork` fails; they return its result. */
static inline int32_t unirs_fail(unirs_error *error, const char *text)
{
    size_t len = strlen(text);
    if (error != 0) {
        error->len = len < error->capacity ? len : error->capacity;
        memcpy(error->text, text, error->len);
    }
    return UNIRS_FAILED;
}

#ifdef __cplusplus
}
#endif

#endif
