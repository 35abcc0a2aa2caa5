/* SPDX-License-Identifier: Apache-2.0 */
/* The words for what dnsd answers, and for lookups and connections. */
#include "egress/explain_words.h"

#include "common/dns/dns_ldns.h"
#include "dnsd/from_resolver.h"

#include <stdio.h>
#include <string.h>

const char *explain_mode_word(const struct explain_facts *f)
{
    switch (f->cfg->answer.mode) {
    case ANSWER_SYNTHETIC:
        return "synthetic";
    case ANSWER_STEER:
        return "steer";
    case ANSWER_REAL:
        break;
    }
    return "real";
}

const char *explain_type_text(const struct explain_dns *d)
{
    switch (d->qtype) {
    case DNS_A:
        return "A";
    case DNS_AAAA:
        return "AAAA";
    case DNS_SRV:
        return "SRV";
    case DNS_TXT:
        return "TXT";
    case DNS_HTTPS:
        return "HTTPS";
    default:
        return "other";
    }
}

const char *explain_name_word(const struct explain_facts *f)
{
    if (f->target.host.kind != HOST_DNS) {
        return f->target.host.kind == HOST_IP ? "literal" : "invalid";
    }
    switch (f->name.kind) {
    case NAME_ADMITTED:
        return "admitted";
    case NAME_STATIC:
        return "static";
    case NAME_PARENT:
        return "parent";
    case NAME_DENIED:
        break;
    }
    return "denied";
}

/* "60 new names a minute"; 0 is no limit. */
static void put_limit(struct wbuf *w, const char *before, uint32_t n, const char *unit, const char *option)
{
    if (n == 0) {
        wbuf_printf(w, "%sno limit (%s 0)", before, option);
    } else {
        wbuf_printf(w, "%s%u %s (%s)", before, n, unit, option);
    }
}

const char *explain_brakes_text(const struct settings_shared *s, char *out, size_t cap)
{
    struct wbuf w = wbuf_make(out, cap - 1);
    put_limit(&w, "names of at most ", s->wildcard_length, "bytes", "--wildcard-length");
    put_limit(&w, ", ", s->wildcard_budget, "new ones a minute", "--wildcard-budget");
    put_limit(&w, ", ", s->rate_limit, "questions a second of a client", "--rate-limit");
    out[w.len] = '\0';
    return out;
}

static void pool_text(const struct explain_facts *f, const struct explain_dns *d, char *out, size_t cap)
{
    const struct ip_prefix *pool = d->qtype == DNS_A ? &f->cfg->answer.pools.v4 : &f->cfg->answer.pools.v6;
    char text[IP_TEXT_CAP];
    (void)snprintf(out, cap, "one synthetic address of %s/%u, which openshell-tunneld carries (TTL %us)",
                   ip_text(&pool->base, text), pool->bits, f->cfg->answer.synthetic_ttl_s);
}

static void put_ede(struct wbuf *w, const struct answer *a)
{
    if (a->ede != DNS_EDE_NONE) {
        wbuf_printf(w, ", EDE %d \"%s\"", (int)a->ede, a->ede_text);
    }
}

/* An answer that is known. */
static void answer_text(const struct explain_facts *f, const struct explain_dns *d, struct wbuf *w)
{
    const struct answer *a = &d->answer;
    if (a->wants_synthetic) {
        char pool[EXPLAIN_WORDS_CAP];
        pool_text(f, d, pool, sizeof pool);
        wbuf_str(w, pool);
        return;
    }
    if (a->addr_count > 0) {
        for (size_t i = 0; i < a->addr_count; i++) {
            char text[IP_TEXT_CAP];
            if (i == 6) {
                wbuf_printf(w, " and %zu more", a->addr_count - i);
                break;
            }
            wbuf_printf(w, "%s%s", i == 0 ? "" : ", ", ip_text(&a->addrs[i], text));
        }
        wbuf_printf(w, " (TTL %us)", a->ttl_s);
        return;
    }
    if (a->has_ptr) {
        wbuf_printf(w, "%s (TTL %us)", a->ptr.text, a->ttl_s);
        return;
    }
    wbuf_str(w, a->rcode == DNS_NOERROR ? "NODATA, no such record" : dns_rcode_text((uint16_t)a->rcode));
    if (a->rcode == DNS_NXDOMAIN) {
        wbuf_str(w, ", \"no such host\"");
    }
    if (a->has_soa) {
        wbuf_printf(w, " (for %us)", a->soa_ttl_s);
    }
    put_ede(w, a);
}

const char *explain_dns_text(const struct explain_facts *f, const struct explain_dns *d, char *out,
                             size_t cap)
{
    struct wbuf w = wbuf_make(out, cap - 1);
    char pool[EXPLAIN_WORDS_CAP];
    if (d->is_looked_up || d->route == ANSWER_ROUTE_DONE) {
        answer_text(f, d, &w);
    } else if (d->route == ANSWER_ROUTE_REVERSE) {
        wbuf_str(&w, "looked up in the map of synthetic addresses");
    } else if (d->is_hidden) {
        wbuf_str(
            &w,
            "NODATA: AAAA is not given out here (--aaaa, --pool, --steer-address); SERVFAIL while A fails");
    } else if (d->answer.event == ANSWER_EVENT_OPEN_ZONE) {
        wbuf_str(
            &w, "resolved by the servers of the zone; open: every address that is not forbidden is answered");
    } else if (d->qtype == DNS_SRV) {
        wbuf_str(
            &w,
            "resolved upstream; of the targets those are answered that the policy admits, with their port");
    } else if (d->qtype == DNS_TXT) {
        wbuf_printf(&w, "resolved upstream; at most %d records, %d bytes", DNS_TXT_MAX, DNS_TXT_BYTES_MAX);
    } else if (d->is_direct) {
        wbuf_printf(
            &w,
            "resolved upstream; of the addresses the permitted ones are answered, and let through by the nft "
            "set %s%d",
            f->cfg->dnsd.direct_nft_set, d->qtype == DNS_A ? 4 : 6);
    } else if (f->cfg->answer.mode == ANSWER_STEER) {
        const struct ip *ip = d->qtype == DNS_A ? &f->cfg->answer.steer.v4 : &f->cfg->answer.steer.v6;
        char text[IP_TEXT_CAP];
        wbuf_printf(&w,
                    "resolved upstream; if any address of it is permitted: %s, where openshell-tunneld "
                    "carries TLS by "
                    "SNI and HTTP by Host (TTL %us)",
                    ip_text(ip, text), f->cfg->answer.synthetic_ttl_s);
    } else if (f->cfg->answer.mode == ANSWER_SYNTHETIC) {
        pool_text(f, d, pool, sizeof pool);
        wbuf_printf(&w, "resolved upstream; if any address of it is permitted: %s", pool);
    } else {
        wbuf_str(&w, "resolved upstream; of the addresses the permitted ones are answered");
    }
    out[w.len] = '\0';
    return out;
}

const char *explain_dial_word(enum explain_dial d)
{
    static const char *const words[] = {"none", "connected", "failed", "silent", "overtaken", "spare"};
    return words[d];
}

const char *explain_dial_text(const struct explain_addr *a, char *out, size_t cap)
{
    out[0] = '\0';
    switch (a->dial) {
    case EXPLAIN_DIAL_NONE:
        (void)snprintf(out, cap, "not dialled");
        break;
    case EXPLAIN_DIAL_CONNECTED:
        (void)snprintf(out, cap, "connected in %lld ms", (long long)a->ms);
        break;
    case EXPLAIN_DIAL_FAILED:
        (void)snprintf(out, cap, "failed after %lld ms: %s", (long long)a->ms, strerror(a->error));
        break;
    case EXPLAIN_DIAL_SILENT:
        (void)snprintf(out, cap, "no answer within %lld ms", (long long)a->ms);
        break;
    case EXPLAIN_DIAL_OVERTAKEN:
        (void)snprintf(out, cap, "not connected when another one was, after %lld ms", (long long)a->ms);
        break;
    case EXPLAIN_DIAL_SPARE:
        (void)snprintf(out, cap, "permitted, not tried: another one connected first");
        break;
    }
    return out;
}

const char *explain_lookup_text(const struct resolver_answer *a, char *out, size_t cap)
{
    struct answer_family family;
    switch (a->status) {
    case RESOLVER_ADDRS:
        (void)snprintf(out, cap, "%zu %s, TTL %us", a->addr_count,
                       a->addr_count == 1 ? "address" : "addresses", a->ttl_s);
        break;
    case RESOLVER_RECORDS: /* not looked up by explain */
    case RESOLVER_NODATA:
        (void)snprintf(out, cap, "no such record (NODATA)");
        break;
    case RESOLVER_NXDOMAIN:
        (void)snprintf(out, cap, "no such name (NXDOMAIN)");
        break;
    case RESOLVER_FAILED:
        from_resolver(a, false, &family);
        (void)snprintf(out, cap, "failed: %s", family.text);
        break;
    }
    return out;
}
