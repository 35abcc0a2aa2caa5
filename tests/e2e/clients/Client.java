// SPDX-License-Identifier: Apache-2.0
// The cases of clients.sh for Java's two clients: "java" is java.net.http.HttpClient, "urlconnection" the old one. Java
// does not read the proxy variables; it is told by the properties that its users set. Nothing but the standard library.
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.URI;
import java.net.URL;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.MessageDigest;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;
import javax.net.ssl.HttpsURLConnection;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

public class Client {
    static final String WEB = "http://web.example.org";
    static final String SECURE = "https://web.example.org";
    static final String DENIED = "www.example.com";

    record Answer(int status, byte[] body) {
        String text() {
            return new String(body);
        }
    }

    interface Fetcher {
        /** body: null for GET; chunked: the length is not told. */
        Answer fetch(String url, byte[] body, boolean chunked) throws Exception;
    }

    interface Case {
        void run() throws Exception;
    }

    static Fetcher fetcher;
    static byte[] blob;

    static SSLContext trust(String path) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (InputStream in = Files.newInputStream(Path.of(path))) {
            store.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(in));
        }
        TrustManagerFactory factory = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        factory.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, factory.getTrustManagers(), null);
        return context;
    }

    static Fetcher modern(SSLContext context) {
        HttpClient client = HttpClient.newBuilder().sslContext(context).followRedirects(HttpClient.Redirect.NORMAL)
                .connectTimeout(Duration.ofSeconds(60)).build();
        return (url, body, chunked) -> {
            HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(url)).timeout(Duration.ofSeconds(60));
            if (body != null) {
                request.POST(chunked ? HttpRequest.BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(body))
                        : HttpRequest.BodyPublishers.ofByteArray(body));
            }
            HttpResponse<byte[]> answer = client.send(request.build(), HttpResponse.BodyHandlers.ofByteArray());
            return new Answer(answer.statusCode(), answer.body());
        };
    }

    static Fetcher old(SSLContext context) {
        HttpsURLConnection.setDefaultSSLSocketFactory(context.getSocketFactory());
        return (url, body, chunked) -> {
            HttpURLConnection connection = (HttpURLConnection) new URL(url).openConnection();
            connection.setConnectTimeout(60000);
            connection.setReadTimeout(60000);
            if (body != null) {
                connection.setDoOutput(true);
                if (chunked) {
                    connection.setChunkedStreamingMode(30000);
                } else {
                    connection.setFixedLengthStreamingMode(body.length);
                }
                connection.getOutputStream().write(body);
                connection.getOutputStream().close();
            }
            int status = connection.getResponseCode();
            if (status == 302) { // it does not follow from http: to https: by itself
                connection.getInputStream().readAllBytes();
                return fetcher.fetch(connection.getHeaderField("Location"), null, false);
            }
            try (InputStream in = status < 400 ? connection.getInputStream() : connection.getErrorStream()) {
                return new Answer(status, in.readAllBytes());
            }
        };
    }

    static String sum(byte[] data) throws Exception {
        StringBuilder out = new StringBuilder();
        for (byte b : MessageDigest.getInstance("SHA-256").digest(data)) {
            out.append(String.format("%02x", b));
        }
        return out.toString();
    }

    static void check(Object wanted, Object got) {
        if (!wanted.equals(got)) {
            throw new IllegalStateException("'" + got + "' instead of '" + wanted + "'");
        }
    }

    static void contains(String wanted, String got) {
        if (!got.contains(wanted)) {
            throw new IllegalStateException("no '" + wanted + "' in '" + got + "'");
        }
    }

    static void hello(String url) throws Exception {
        Answer answer = fetcher.fetch(url, null, false);
        check("200 hello\n", answer.status() + " " + answer.text());
    }

    static void digest(String url, boolean chunked) throws Exception {
        String got = fetcher.fetch(url, blob, chunked).text();
        contains("\"sha256\":\"" + sum(blob) + "\",\"framing\":\"" + (chunked ? "chunked" : "length") + "\"", got);
    }

    static void forward() throws Exception {
        String seen = fetcher.fetch(WEB + "/seen?a=b", null, false).text();
        contains("\"url\":\"/seen?a=b\"", seen);
        contains("\"host\":\"web.example.org\"", seen);
        contains("\"via\":\"1.1 ", seen);
    }

    static void deniedHttp() throws Exception {
        Answer answer = fetcher.fetch("http://" + DENIED + "/", null, false);
        check(403, answer.status());
        contains("\"error\":\"policy_denied\"", answer.text().replace(" ", ""));
    }

    static void deniedHttps() throws Exception {
        Answer answer;
        try {
            answer = fetcher.fetch("https://" + DENIED + "/", null, false);
        } catch (IOException error) { // what the old client makes of it
            contains("403", error.getMessage());
            return;
        }
        check(403, answer.status());
    }

    static void noProxy() throws Exception {
        hello("http://direct.example.org/hello");
        hello("https://direct.example.org/hello");
    }

    static void keepAlive() throws Exception {
        for (int i = 0; i < 3; i++) {
            hello("http://keep.example.org/hello");
        }
    }

    public static void main(String[] args) throws Exception {
        URI proxy = URI.create(System.getenv("HTTPS_PROXY"));
        for (String scheme : new String[] {"http", "https"}) {
            System.setProperty(scheme + ".proxyHost", proxy.getHost());
            System.setProperty(scheme + ".proxyPort", Integer.toString(proxy.getPort()));
        }
        System.setProperty("http.nonProxyHosts", String.join("|", System.getenv("NO_PROXY").split(",")));
        blob = Files.readAllBytes(Path.of(System.getenv("BLOB")));
        SSLContext context = trust(System.getenv("CA"));
        fetcher = args[0].equals("java") ? modern(context) : old(context);

        Map<String, Case> cases = new LinkedHashMap<>();
        cases.put("forward", Client::forward);
        cases.put("connect", () -> hello(SECURE + "/hello"));
        cases.put("post", () -> digest(WEB + "/digest", false));
        cases.put("https_post", () -> digest(SECURE + "/digest", false));
        cases.put("chunked_up", () -> digest(WEB + "/digest", true));
        cases.put("chunked_down", () -> check(System.getenv("CHUNKS"), sum(fetcher.fetch(WEB + "/chunks", null, false).body())));
        cases.put("to_the_end", () -> check("to the end ".repeat(9999), fetcher.fetch(WEB + "/to-end", null, false).text()));
        cases.put("redirect", () -> hello(WEB + "/redirect"));
        cases.put("denied_http", Client::deniedHttp);
        cases.put("denied_https", Client::deniedHttps);
        cases.put("no_proxy", Client::noProxy);
        cases.put("keep_alive", Client::keepAlive);
        for (Map.Entry<String, Case> one : cases.entrySet()) {
            try {
                one.getValue().run();
                System.out.println("ok " + one.getKey());
            } catch (Exception error) {
                System.out.println("FAIL " + one.getKey() + ": " + error);
            }
        }
        System.exit(0);
    }
}
