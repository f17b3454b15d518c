#ifndef RINGFORT_CSSL_SHIM_H
#define RINGFORT_CSSL_SHIM_H

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

// What libssl has as macros only, which Swift does not see.

/// TLS 1.3 and nothing else, one group, no tickets and no cache of sessions: 1 when libssl knows all of that.
static inline int ssl_context_restrict(SSL_CTX *context, const char *ciphers, const char *groups) {
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    return SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) == 1
        && SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) == 1
        && SSL_CTX_set_ciphersuites(context, ciphers) == 1
        && SSL_CTX_set1_groups_list(context, groups) == 1
        && SSL_CTX_set_num_tickets(context, 0) == 1;
}

/// A memory BIO that asks for more when it is empty, instead of telling the end.
static inline BIO *ssl_memory_bio(void) {
    BIO *bio = BIO_new(BIO_s_mem());
    if (bio != NULL) BIO_set_mem_eof_return(bio, -1);
    return bio;
}

/// Bytes that wait in a BIO.
static inline size_t ssl_bio_waiting(BIO *bio) { return BIO_ctrl_pending(bio); }

#endif
