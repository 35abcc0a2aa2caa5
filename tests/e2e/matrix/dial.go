// SPDX-License-Identifier: Apache-2.0
// dial http URL: net/http gets it. dial dial HOST:PORT: net.Dial, and a PING to a Redis. Nothing but the standard library.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

func get(url string) (string, error) {
	pem, err := os.ReadFile(os.Getenv("CA"))
	if err != nil {
		return "", err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: roots}}
	answer, err := (&http.Client{Transport: transport, Timeout: 30 * time.Second}).Get(url)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	return string(data), err
}

func dial(address string) (string, error) {
	conn, err := net.DialTimeout("tcp", address, 30*time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err = conn.Write([]byte("PING\r\n")); err != nil {
		return "", err
	}
	data := make([]byte, 7)
	_, err = io.ReadFull(conn, data)
	return string(data), err
}

func main() {
	try, wanted := get, "hello\n"
	if os.Args[1] == "dial" {
		try, wanted = dial, "+PONG\r\n"
	}
	if got, err := try(os.Args[2]); err != nil || got != wanted {
		fmt.Fprintf(os.Stderr, "dial: %q, %v\n", got, err)
		os.Exit(1)
	}
}
