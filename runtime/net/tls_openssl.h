/* SPDX-License-Identifier: MIT */
/* OpenSSL, loaded at the first use of TLS: linking it would cost every script half of its start-up time. */
#ifndef GR_NET_TLS_OPENSSL_H
#define GR_NET_TLS_OPENSSL_H

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

/* Every function that is used, by library. */
#define GR_LIBSSL_FUNCTIONS(X)                \
	X(SSL_CIPHER_get_name)                \
	X(SSL_CTX_check_private_key)          \
	X(SSL_CTX_ctrl)                       \
	X(SSL_CTX_free)                       \
	X(SSL_CTX_get_cert_store)             \
	X(SSL_CTX_new)                        \
	X(SSL_CTX_sess_set_new_cb)            \
	X(SSL_CTX_set1_cert_store)            \
	X(SSL_CTX_set_alpn_protos)            \
	X(SSL_CTX_set_alpn_select_cb)         \
	X(SSL_CTX_set_cipher_list)            \
	X(SSL_CTX_set_ciphersuites)           \
	X(SSL_CTX_set_client_CA_list)         \
	X(SSL_CTX_set_client_hello_cb)        \
	X(SSL_CTX_set_num_tickets)            \
	X(SSL_CTX_set_options)                \
	X(SSL_CTX_set_session_id_context)     \
	X(SSL_CTX_use_PrivateKey)             \
	X(SSL_CTX_use_certificate)            \
	X(SSL_SESSION_free)                   \
	X(SSL_SESSION_get_protocol_version)   \
	X(SSL_SESSION_is_resumable)           \
	X(SSL_client_hello_get0_ext)          \
	X(SSL_ctrl)                           \
	X(SSL_do_handshake)                   \
	X(SSL_free)                           \
	X(SSL_get0_alpn_selected)             \
	X(SSL_get0_param)                     \
	X(SSL_get1_peer_certificate)          \
	X(SSL_get_current_cipher)             \
	X(SSL_get_error)                      \
	X(SSL_get_ex_data)                    \
	X(SSL_get_ex_data_X509_STORE_CTX_idx) \
	X(SSL_get_servername)                 \
	X(SSL_get_verify_result)              \
	X(SSL_get_version)                    \
	X(SSL_has_pending)                    \
	X(SSL_new)                            \
	X(SSL_peek_ex)                        \
	X(SSL_read_ex)                        \
	X(SSL_select_next_proto)              \
	X(SSL_session_reused)                 \
	X(SSL_set1_host)                      \
	X(SSL_set_SSL_CTX)                    \
	X(SSL_set_accept_state)               \
	X(SSL_set_bio)                        \
	X(SSL_set_connect_state)              \
	X(SSL_set_ex_data)                    \
	X(SSL_set_hostflags)                  \
	X(SSL_set_session)                    \
	X(SSL_set_session_id_context)         \
	X(SSL_set_verify)                     \
	X(SSL_shutdown)                       \
	X(SSL_write_ex)                       \
	X(TLS_method)

#define GR_LIBCRYPTO_FUNCTIONS(X)          \
	X(ASN1_INTEGER_to_BN)              \
	X(ASN1_STRING_get0_data)           \
	X(ASN1_STRING_length)              \
	X(ASN1_TIME_to_tm)                 \
	X(BIO_clear_flags)                 \
	X(BIO_ctrl)                        \
	X(BIO_free)                        \
	X(BIO_get_data)                    \
	X(BIO_meth_new)                    \
	X(BIO_meth_set_ctrl)               \
	X(BIO_meth_set_read)               \
	X(BIO_meth_set_write)              \
	X(BIO_new)                         \
	X(BIO_new_mem_buf)                 \
	X(BIO_s_mem)                       \
	X(BIO_set_data)                    \
	X(BIO_set_flags)                   \
	X(BIO_set_init)                    \
	X(BN_bn2hex)                       \
	X(BN_free)                         \
	X(CRYPTO_free)                     \
	X(ERR_clear_error)                 \
	X(ERR_get_error)                   \
	X(ERR_peek_error)                  \
	X(ERR_peek_last_error)             \
	X(ERR_reason_error_string)         \
	X(EVP_PKEY_free)                   \
	X(EVP_sha256)                      \
	X(GENERAL_NAMES_free)              \
	X(OPENSSL_sk_new_null)             \
	X(OPENSSL_sk_num)                  \
	X(OPENSSL_sk_pop_free)             \
	X(OPENSSL_sk_push)                 \
	X(OPENSSL_sk_value)                \
	X(PEM_read_bio_PrivateKey)         \
	X(PEM_read_bio_X509)               \
	X(PEM_write_bio_X509)              \
	X(X509_NAME_dup)                   \
	X(X509_NAME_free)                  \
	X(X509_NAME_print_ex)              \
	X(X509_STORE_CTX_get_current_cert) \
	X(X509_STORE_CTX_get_error)        \
	X(X509_STORE_CTX_get_error_depth)  \
	X(X509_STORE_CTX_get_ex_data)      \
	X(X509_STORE_add_cert)             \
	X(X509_STORE_free)                 \
	X(X509_STORE_load_path)            \
	X(X509_STORE_new)                  \
	X(X509_STORE_set_default_paths)    \
	X(X509_STORE_up_ref)               \
	X(X509_VERIFY_PARAM_set1_ip_asc)   \
	X(X509_digest)                     \
	X(X509_free)                       \
	X(X509_get0_notAfter)              \
	X(X509_get0_notBefore)             \
	X(X509_get0_serialNumber)          \
	X(X509_get_ext_d2i)                \
	X(X509_get_issuer_name)            \
	X(X509_get_subject_name)           \
	X(X509_verify_cert_error_string)

struct gr_ossl {
#define GR_OSSL_FIELD(name) __typeof__(&(name))(name);
	GR_LIBSSL_FUNCTIONS(GR_OSSL_FIELD)
	GR_LIBCRYPTO_FUNCTIONS(GR_OSSL_FIELD)
#undef GR_OSSL_FIELD
};

/* All NULL until gr_ossl_load has returned 0. Macros of OpenSSL's headers that call functions cannot be used. */
extern struct gr_ossl ossl;

/* Loads the libraries if that has not happened yet. Returns 0, or GR_TLS with the reason in gr_error_explain. */
int gr_ossl_load(void);

#endif
