#include "unirs_app.h"

static const unirs_host *host;

static int32_t start(const unirs_host *given,
                     void **state, unirs_error *error) {
    host = given;
    return UNIRS_OK;
}

static int32_t call(void *state, void *thread,
                    unirs_exchange *exchange) {
    return unirs_text(host, exchange, 200, "Hello from C\n");
}

static const unirs_application table = {
    .size = sizeof table,
    .abi = UNIRS_ABI_VERSION,
    .name = UNIRS_TEXT("shop"),
    .start = start,
    .call = call,
};

const unirs_application *unirs_app(void) { return &table; }
