/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/chain_config.h"

#include "common/base/num.h"
#include "common/run/guard.h"
#include "common/run/option_say.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* The last colon behind a possible bracket. text.len: there is none. */
static size_t port_colon(struct span text)
{
    size_t at = text.len;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == ':') {
            at = i;
        } else if (text.data[i] == ']') {
            at = text.len;
        }
    }
    return at;
}

/* What is wrong with the URL, or NULL. */
static const char *parse_url(struct span url, struct chain_config *out)
{
    const struct span scheme = SPAN_LIT("http://");
    if (!span_is_equal_nocase(span_sub(url, 0, scheme.len), scheme)) {
        return "is not of the form http://HOST:PORT (the way to the proxy itself is plain HTTP)";
    }
    struct span rest = span_sub(url, scheme.len, url.len);
    if (rest.len > 0 && rest.data[rest.len - 1] == '/') {
        rest = span_sub(rest, 0, rest.len - 1);
    }
    if (span_find(rest, '@') != rest.len) {
        return "holds credentials: put USER:PASSWORD into a file and name it with --chain-auth-file";
    }
    size_t colon = port_colon(rest);
    bool has_bracket = colon > 0 && colon < rest.len && rest.data[colon - 1] == ']';
    if (colon == rest.len || num_port(span_sub(rest, colon + 1, rest.len), &out->port) != 0) {
        return "does not end with a port: http://HOST:PORT, and no path";
    }
    struct span host = span_sub(rest, 0, colon);
    if ((!has_bracket && span_find(host, ':') != host.len) ||
        host_parse(host, &out->proxy) != HOST_FAULT_NONE) {
        return "does not name a host: http://HOST:PORT, an IPv6 address in brackets";
    }
    return NULL;
}

static int parse_name(struct span text, struct chain_except *out, struct err *err)
{
    enum host_fault why = HOST_FAULT_NONE;
    size_t colon = span_find(text, ':');
    if (colon < text.len && num_port(span_sub(text, colon + 1, text.len), &out->port) != 0) {
        err_set(err, "--chain-except: %.*s is not of the form HOST|CIDR[:PORT]",
                (int)(text.len < 80 ? text.len : 80), (const char *)text.data);
        return -EINVAL;
    }
    enum pattern_fault f = host_pattern_parse(span_sub(text, 0, colon), &out->pattern, &why);
    if (f != PATTERN_FAULT_NONE) {
        err_set(err, "--chain-except: %.*s: %s", (int)(text.len < 80 ? text.len : 80),
                (const char *)text.data,
                f == PATTERN_FAULT_HOST ? host_fault_text(why) : pattern_fault_text(f));
        return -EINVAL;
    }
    out->kind = CHAIN_EXCEPT_NAME;
    return 0;
}

static int parse_excepts(const struct str_list *list, struct chain_config *out, struct err *err)
{
    static const struct option_wanted wanted = {"--chain-except", "HOST[:PORT] or CIDR[:PORT]",
                                                "db.example.com:5432 or 10.0.0.0/8", true};
    out->items = calloc(list->count + 1, sizeof(*out->items));
    if (out->items == NULL) {
        err_set(err, "out of memory");
        return -ENOMEM;
    }
    for (size_t i = 0; i < list->count; i++) {
        struct span text = span_str(list->items[i]);
        struct chain_except *e = &out->items[i];
        int rc = guard_parse_never(text, &e->prefix, &e->port); /* the same form */
        if (rc == 0) {
            e->kind = CHAIN_EXCEPT_PREFIX;
        } else if (rc == -EDOM || span_find(text, '/') < text.len) {
            rc = option_say(&wanted, list->items[i], err);
        } else {
            rc = parse_name(text, e, err);
        }
        if (rc != 0) {
            return rc;
        }
    }
    out->excepts = (struct chain_excepts){.items = out->items, .count = list->count};
    return 0;
}

static int build(const struct settings_tunneld *s, struct chain_config *out, struct err *err)
{
    const char *fault = parse_url(span_str(s->chain_proxy), out);
    if (fault != NULL) {
        err_set(err, "--chain-proxy: the URL %s", fault);
        return -EINVAL;
    }
    out->by_name = s->chain_target == CHAIN_TARGET_NAME;
    return parse_excepts(&s->chain_except, out, err);
}

int chain_config_build(const struct settings_tunneld *s, struct chain_config *out, struct err *err)
{
    *out = (struct chain_config){.by_name = true};
    if (s->chain_proxy == NULL || s->chain_proxy[0] == '\0') {
        if (s->chain_except.count == 0 && s->chain_auth_file == NULL) {
            return 0;
        }
        err_set(err, "--chain-%s means nothing without --chain-proxy",
                s->chain_except.count > 0 ? "except" : "auth-file");
        return -EINVAL;
    }
    int rc = build(s, out, err);
    if (rc != 0) {
        chain_config_fini(out);
    }
    return rc;
}

void chain_config_fini(struct chain_config *c)
{
    free(c->items);
    *c = (struct chain_config){.by_name = true};
}

void chain_config_judge(const struct chain_config *c, struct judge_config *judge)
{
    judge->has_chain = c->proxy.kind != HOST_NONE;
    judge->chain_excepts = c->excepts;
}

const char *chain_config_text(const struct chain_config *c, char text[CHAIN_CONFIG_TEXT_CAP])
{
    char host[HOST_TEXT_CAP];
    text[0] = '\0';
    if (c->proxy.kind != HOST_NONE) {
        (void)snprintf(text, CHAIN_CONFIG_TEXT_CAP, "%s:%u", host_text(&c->proxy, host), (unsigned)c->port);
    }
    return text;
}
