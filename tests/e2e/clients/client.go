// SPDX-License-Identifier: Apache-2.0
// The cases of clients.sh for Go's net/http, which finds the proxy in its environment. Nothing but the standard library.
package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

const web, secure, denied = "http://web.example.org", "https://web.example.org", "www.example.com"

var client *http.Client
var blob []byte

func sum(data []byte) string {
	return fmt.Sprintf("%x", sha256.Sum256(data))
}

func get(url string, body io.Reader) (int, []byte, error) {
	method := "GET"
	if body != nil {
		method = "POST"
	}
	request, err := http.NewRequest(method, url, body)
	if err != nil {
		return 0, nil, err
	}
	answer, err := client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	return answer.StatusCode, data, err
}

func check(wanted, got string) error {
	if wanted != got {
		return fmt.Errorf("'%s' instead of '%s'", got, wanted)
	}
	return nil
}

func expect(url string, body io.Reader, wanted func(int, []byte) error) error {
	status, data, err := get(url, body)
	if err != nil {
		return err
	}
	return wanted(status, data)
}

func hello(url string) error {
	return expect(url, nil, func(status int, data []byte) error {
		return check("200 hello\n", fmt.Sprintf("%d %s", status, data))
	})
}

func digest(url string, body io.Reader, framing string) error {
	return expect(url, body, func(_ int, data []byte) error {
		var got struct{ Sha256, Framing string }
		if err := json.Unmarshal(data, &got); err != nil {
			return err
		}
		return check(sum(blob)+" "+framing, got.Sha256+" "+got.Framing)
	})
}

func forward() error {
	return expect(web+"/seen?a=b", nil, func(_ int, data []byte) error {
		var got struct {
			Url     string
			Headers map[string]string
		}
		if err := json.Unmarshal(data, &got); err != nil {
			return err
		}
		if !strings.HasPrefix(got.Headers["via"], "1.1 ") {
			return errors.New("no Via")
		}
		return check("/seen?a=b web.example.org", got.Url+" "+got.Headers["host"])
	})
}

func deniedHTTP() error {
	return expect("http://"+denied+"/", nil, func(status int, data []byte) error {
		var got struct{ Error string }
		if err := json.Unmarshal(data, &got); err != nil {
			return err
		}
		return check("403 policy_denied", fmt.Sprintf("%d %s", status, got.Error))
	})
}

// Go makes an error of the reason phrase alone.
func deniedHTTPS() error {
	_, _, err := get("https://"+denied+"/", nil)
	if err == nil || !strings.Contains(err.Error(), "Forbidden") {
		return fmt.Errorf("no refusal: %v", err)
	}
	return nil
}

func keepAlive() error {
	for i := 0; i < 3; i++ {
		if err := hello("http://keep.example.org/hello"); err != nil {
			return err
		}
	}
	return nil
}

func noProxy() error {
	if err := hello("http://direct.example.org/hello"); err != nil {
		return err
	}
	return hello("https://direct.example.org/hello")
}

func main() {
	ca, err := os.ReadFile(os.Getenv("CA"))
	if err == nil {
		blob, err = os.ReadFile(os.Getenv("BLOB"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	client = &http.Client{Transport: transport, Timeout: 60 * time.Second}

	cases := []struct {
		name string
		run  func() error
	}{
		{"forward", forward},
		{"connect", func() error { return hello(secure + "/hello") }},
		{"post", func() error { return digest(web+"/digest", bytes.NewReader(blob), "length") }},
		{"https_post", func() error { return digest(secure+"/digest", bytes.NewReader(blob), "length") }},
		// A reader that hides its length is sent in chunks.
		{"chunked_up", func() error { return digest(web+"/digest", io.MultiReader(bytes.NewReader(blob)), "chunked") }},
		{"chunked_down", func() error {
			return expect(web+"/chunks", nil, func(_ int, data []byte) error { return check(os.Getenv("CHUNKS"), sum(data)) })
		}},
		{"to_the_end", func() error {
			return expect(web+"/to-end", nil, func(_ int, data []byte) error {
				return check(strings.Repeat("to the end ", 9999), string(data))
			})
		}},
		{"redirect", func() error { return hello(web + "/redirect") }},
		{"denied_http", deniedHTTP},
		{"denied_https", deniedHTTPS},
		{"no_proxy", noProxy},
		{"keep_alive", keepAlive},
	}
	for _, one := range cases {
		if err := one.run(); err != nil {
			fmt.Printf("FAIL %s: %v\n", one.name, err)
		} else {
			fmt.Printf("ok %s\n", one.name)
		}
	}
}
