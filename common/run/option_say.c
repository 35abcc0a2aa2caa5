/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/option_say.h"

#include "common/base/host_name.h"
#include "common/base/num.h"
#include "common/net/addr.h"

#include <errno.h>

#define QUOTE "%s: \"%.80s\" "

/* "HOST:PORT", "[V6]:PORT", "HOST": the parts; *has_port also where nothing is behind the colon. */
static void split(struct span text, struct span *host, struct span *port, bool *has_port)
{
    size_t close = text.len > 0 && text.data[0] == '[' ? span_find(text, ']') : text.len;
    bool has_bracket = close < text.len;
    size_t colon = has_bracket ? close + 1 : span_find(text, ':');
    struct span behind = span_sub(text, colon, text.len);
    *has_port =
        behind.len > 0 && behind.data[0] == ':' &&
        span_find(span_sub(behind, 1, behind.len), ':') == behind.len - 1; /* more: a bare IPv6 address */
    *host = has_bracket ? span_sub(text, 1, close - 1) : *has_port ? span_sub(text, 0, colon) : text;
    *port = *has_port ? span_sub(behind, 1, behind.len) : span_sub(behind, 0, 0);
}

static bool is_url(struct span text)
{
    bool is = false;
    for (size_t i = 0; i + 2 < text.len && !is; i++) {
        is = memcmp(text.data + i, "://", 3) == 0;
    }
    return is;
}

bool option_is_name(struct span text)
{
    struct span host, port;
    struct host_name name;
    bool has_port = false;
    split(text, &host, &port, &has_port);
    return !is_url(text) && span_find(port, '/') == port.len &&
           host_name_parse(host, &name) == HOST_FAULT_NONE;
}

/* What is wrong with "ADDR/BITS[:PORT]" and "[ADDR/BITS]:PORT": true if it was said. */
static bool say_prefix(const struct option_wanted *w, const char *text, struct err *err)
{
    const struct span all = span_str(text);
    const bool has_bracket = all.len > 0 && all.data[0] == '[';
    const size_t slash = span_find(all, '/');
    char meant[IP_MEANT_CAP];
    struct ip ip;
    struct ip_prefix prefix;
    if (slash == all.len || ip_parse(span_sub(all, has_bracket, slash - has_bracket), &ip) != 0) {
        return false;
    }
    struct span bits = span_sub(all, slash + 1, all.len);
    bits = span_sub(bits, 0, span_find(bits, ip.family == IP_V4 ? ':' : ']'));
    uint64_t n = 0;
    int rc = num_u64(bits, 0, ip.family == IP_V4 ? 32 : 128, &n);
    if (rc == -ERANGE) {
        err_set(err, QUOTE "has a prefix longer than the address: at most /%d", w->option, text,
                ip.family == IP_V4 ? 32 : 128);
        return true;
    }
    struct span range = span_sub(all, has_bracket, slash + 1 + bits.len - has_bracket);
    if (ip_prefix_parse(range, &prefix) != -EDOM || *ip_prefix_meant(all, meant) == '\0') {
        return false;
    }
    err_set(err, QUOTE "has bits behind the prefix; did you mean %s?", w->option, text, meant);
    return true;
}

static bool say_port(const struct option_wanted *w, const char *text, struct err *err)
{
    struct span host, port;
    struct ip_prefix unused;
    bool has_port = false;
    uint64_t n = 0;
    split(span_str(text), &host, &port, &has_port);
    if (!has_port || ip_prefix_parse(host, &unused) != 0 || num_u64(port, 1, UINT16_MAX, &n) == 0 ||
        (span_find(host, '/') < host.len && !w->takes_prefix)) {
        return false;
    }
    err_set(err, QUOTE "does not end with a port, a number from 1 to 65535: write it as %s", w->option, text,
            w->example);
    return true;
}

int option_say(const struct option_wanted *w, const char *text, struct err *err)
{
    const struct span all = span_str(text);
    if (is_url(all)) {
        err_set(err, QUOTE "is a URL, and %s is wanted: %s", w->option, text, w->form, w->example);
    } else if (option_is_name(all)) {
        err_set(err, QUOTE "is a name, and an address is wanted: %s, as %s", w->option, text, w->form,
                w->example);
    } else if (span_find(all, '%') < all.len) {
        err_set(err, QUOTE "has a zone (%%): addresses with one are not taken; write %s, as %s", w->option,
                text, w->form, w->example);
    } else if (!(w->takes_prefix && say_prefix(w, text, err)) && !say_port(w, text, err)) {
        err_set(err, QUOTE "is not %s: write it as %s", w->option, text, w->form, w->example);
    }
    return -EINVAL;
}

int option_check_brackets(const struct option_wanted *w, const char *text, struct err *err)
{
    if (!addr_lacks_brackets(span_str(text))) {
        return 0;
    }
    err_set(err, QUOTE "lacks its brackets: [::1]%.20s", w->option, text, text + strlen("::1"));
    return -EINVAL;
}
