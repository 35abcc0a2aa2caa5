// SPDX-License-Identifier: Apache-2.0
// Dial http URL: java.net.http gets it. Dial dial HOST PORT: java.net.Socket, and a PING to a Redis. Java does not read
// the proxy variables: as its users do, it is told by properties. Client is that of clients.sh.
import java.net.Socket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;

public class Dial {
    static String get(String url) throws Exception {
        if (System.getenv("HTTPS_PROXY") != null) {
            URI proxy = URI.create(System.getenv("HTTPS_PROXY"));
            System.setProperty("https.proxyHost", proxy.getHost());
            System.setProperty("https.proxyPort", Integer.toString(proxy.getPort()));
        }
        HttpClient client = HttpClient.newBuilder().sslContext(Client.trust(System.getenv("CA"))).build();
        HttpRequest request = HttpRequest.newBuilder(URI.create(url)).timeout(Duration.ofSeconds(30)).build();
        return client.send(request, HttpResponse.BodyHandlers.ofString()).body();
    }

    static String dial(String host, int port) throws Exception {
        try (Socket socket = new Socket(host, port)) {
            socket.setSoTimeout(30000);
            socket.getOutputStream().write("PING\r\n".getBytes());
            return new String(socket.getInputStream().readNBytes(7));
        }
    }

    public static void main(String[] args) throws Exception {
        boolean plain = args[0].equals("dial");
        String got = plain ? dial(args[1], Integer.parseInt(args[2])) : get(args[1]);
        if (!got.equals(plain ? "+PONG\r\n" : "hello\n")) {
            throw new IllegalStateException("'" + got + "'");
        }
    }
}
