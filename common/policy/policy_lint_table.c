/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists that are complete enough to catch the usual accident, and small enough to stay right. Names under a
 * shared suffix are for those who ask first, so a wildcard there admits hosts of strangers; the entries are
 * the best-known ones of the Public Suffix List (publicsuffix.org), in both of its parts, and of services
 * that map a name onto any address or site. Left out on purpose: suffixes whose names only the owner gives
 * out, even where strangers supply the content (githubusercontent.com, googleusercontent.com).
 */
#include "common/policy/policy_lint_parts.h"

#include <stdlib.h>

#define REGISTRY "anybody can register a domain there"
#define HOSTING "anybody can publish a site there under a name of their choice"
#define STORAGE "anybody can own a bucket or an account there"
#define TUNNEL "anybody can lead a name there to their own machine"
#define MAPPED "a name there stands for any address or site that its first label names"

/* Sorted by bytes: it is searched. */
static const struct lint_shared shared_suffixes[] = {
    {"a.run.app", false, HOSTING},
    {"amazonaws.com", true, STORAGE},
    {"app.github.dev", false, TUNNEL},
    {"appspot.com", false, HOSTING},
    {"azure-api.net", false, HOSTING},
    {"azureedge.net", false, HOSTING},
    {"azurefd.net", false, HOSTING},
    {"azurestaticapps.net", false, HOSTING},
    {"azurewebsites.net", false, HOSTING},
    {"b-cdn.net", false, HOSTING},
    {"backblazeb2.com", true, STORAGE},
    {"blob.core.windows.net", false, STORAGE},
    {"blogspot.com", false, HOSTING},
    {"cloudapp.azure.com", true, HOSTING},
    {"cloudapp.net", false, HOSTING},
    {"cloudfront.net", false, HOSTING},
    {"cloudfunctions.net", false, HOSTING},
    {"co.id", false, REGISTRY},
    {"co.il", false, REGISTRY},
    {"co.in", false, REGISTRY},
    {"co.jp", false, REGISTRY},
    {"co.kr", false, REGISTRY},
    {"co.nz", false, REGISTRY},
    {"co.th", false, REGISTRY},
    {"co.uk", false, REGISTRY},
    {"co.za", false, REGISTRY},
    {"com.ar", false, REGISTRY},
    {"com.au", false, REGISTRY},
    {"com.br", false, REGISTRY},
    {"com.cn", false, REGISTRY},
    {"com.co", false, REGISTRY},
    {"com.hk", false, REGISTRY},
    {"com.mx", false, REGISTRY},
    {"com.my", false, REGISTRY},
    {"com.ph", false, REGISTRY},
    {"com.pl", false, REGISTRY},
    {"com.sg", false, REGISTRY},
    {"com.tr", false, REGISTRY},
    {"com.tw", false, REGISTRY},
    {"com.ua", false, REGISTRY},
    {"com.vn", false, REGISTRY},
    {"core.windows.net", true, STORAGE},
    {"ddns.net", false, TUNNEL},
    {"deno.dev", false, HOSTING},
    {"digitaloceanspaces.com", true, STORAGE},
    {"duckdns.org", false, TUNNEL},
    {"elasticbeanstalk.com", false, HOSTING},
    {"execute-api.*.amazonaws.com", false, HOSTING},
    {"firebaseapp.com", false, HOSTING},
    {"fly.dev", false, HOSTING},
    {"github.io", false, HOSTING},
    {"gitlab.io", false, HOSTING},
    {"glitch.me", false, HOSTING},
    {"herokuapp.com", false, HOSTING},
    {"hf.space", false, HOSTING},
    {"hopto.org", false, TUNNEL},
    {"loca.lt", false, TUNNEL},
    {"me.uk", false, REGISTRY},
    {"myshopify.com", false, HOSTING},
    {"ne.jp", false, REGISTRY},
    {"net.au", false, REGISTRY},
    {"net.cn", false, REGISTRY},
    {"netlify.app", false, HOSTING},
    {"ngrok-free.app", false, TUNNEL},
    {"ngrok.app", false, TUNNEL},
    {"ngrok.dev", false, TUNNEL},
    {"ngrok.io", false, TUNNEL},
    {"nip.io", false, MAPPED},
    {"now.sh", false, HOSTING},
    {"on.aws", true, HOSTING},
    {"ondigitalocean.app", false, HOSTING},
    {"onrender.com", false, HOSTING},
    {"or.jp", false, REGISTRY},
    {"org.au", false, REGISTRY},
    {"org.cn", false, REGISTRY},
    {"org.uk", false, REGISTRY},
    {"pages.dev", false, HOSTING},
    {"r2.cloudflarestorage.com", false, STORAGE},
    {"r2.dev", false, STORAGE},
    {"replit.app", false, HOSTING},
    {"replit.dev", false, HOSTING},
    {"run.app", true, HOSTING},
    {"s3.*.amazonaws.com", false, STORAGE},
    {"s3.amazonaws.com", false, STORAGE},
    {"sslip.io", false, MAPPED},
    {"storage.googleapis.com", false, STORAGE},
    {"streamlit.app", false, HOSTING},
    {"supabase.co", false, HOSTING},
    {"surge.sh", false, HOSTING},
    {"trafficmanager.net", false, HOSTING},
    {"translate.goog", false, MAPPED},
    {"trycloudflare.com", false, TUNNEL},
    {"up.railway.app", false, HOSTING},
    {"vercel.app", false, HOSTING},
    {"wasabisys.com", true, STORAGE},
    {"web.app", false, HOSTING},
    {"wordpress.com", false, HOSTING},
    {"workers.dev", false, HOSTING},
};

static int compare_suffix(const void *key, const void *item)
{
    const struct span *text = key;
    const struct lint_shared *entry = item;
    struct span other = span_str(entry->suffix);
    size_t common = text->len < other.len ? text->len : other.len;
    int order = memcmp(text->data, other.data, common);
    return order != 0 ? order : (text->len > other.len) - (text->len < other.len);
}

const struct lint_shared *lint_find_shared(struct span suffix)
{
    return suffix.len == 0
               ? NULL
               : bsearch(&suffix, shared_suffixes, sizeof shared_suffixes / sizeof shared_suffixes[0],
                         sizeof shared_suffixes[0], compare_suffix);
}

/* As their operators publish them for DNS over HTTPS or TLS. */
const char *const lint_resolver_names[] = {
    "dns.google",
    "dns64.dns.google",
    "cloudflare-dns.com",
    "mozilla.cloudflare-dns.com",
    "chrome.cloudflare-dns.com",
    "security.cloudflare-dns.com",
    "family.cloudflare-dns.com",
    "odoh.cloudflare-dns.com",
    "1dot1dot1dot1.cloudflare-dns.com",
    "one.one.one.one",
    "dns.quad9.net",
    "dns9.quad9.net",
    "dns10.quad9.net",
    "dns11.quad9.net",
    "dns12.quad9.net",
    "doh.opendns.com",
    "doh.familyshield.opendns.com",
    "doh.umbrella.com",
    "dns.nextdns.io",
    "firefox.dns.nextdns.io",
    "chromium.dns.nextdns.io",
    "dns.adguard-dns.com",
    "family.adguard-dns.com",
    "unfiltered.adguard-dns.com",
    "dns.adguard.com",
    "doh.cleanbrowsing.org",
    "dns.mullvad.net",
    "adblock.dns.mullvad.net",
    "freedns.controld.com",
    "dns.controld.com",
    "doh.dns.sb",
    "dns.alidns.com",
    "doh.pub",
    "dot.pub",
    "doh.360.cn",
    "dns.digitale-gesellschaft.ch",
    "doh.libredns.gr",
    "wikimedia-dns.org",
    "doh.xfinity.com",
};
const size_t lint_resolver_name_count = sizeof lint_resolver_names / sizeof lint_resolver_names[0];

const char *const lint_resolver_addresses[] = {
    "1.1.1.1",
    "1.0.0.1",
    "1.1.1.2",
    "1.0.0.2",
    "1.1.1.3",
    "1.0.0.3",
    "8.8.8.8",
    "8.8.4.4",
    "9.9.9.9",
    "149.112.112.112",
    "9.9.9.10",
    "149.112.112.10",
    "9.9.9.11",
    "149.112.112.11",
    "208.67.222.222",
    "208.67.220.220",
    "94.140.14.14",
    "94.140.15.15",
    "76.76.2.0",
    "76.76.10.0",
    "223.5.5.5",
    "223.6.6.6",
    "2606:4700:4700::1111",
    "2606:4700:4700::1001",
    "2001:4860:4860::8888",
    "2001:4860:4860::8844",
    "2620:fe::fe",
    "2620:fe::9",
    "2620:119:35::35",
    "2620:119:53::53",
    "2a10:50c0::ad1:ff",
    "2a10:50c0::ad2:ff",
};
const size_t lint_resolver_address_count = sizeof lint_resolver_addresses / sizeof lint_resolver_addresses[0];
