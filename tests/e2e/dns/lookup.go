// SPDX-License-Identifier: Apache-2.0

// Go's own resolver for tests/e2e/dns_clients.py; lookup.c says what is read and printed.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"
)

var resolver = net.Resolver{PreferGo: true}

func addresses(ctx context.Context, network, name string) ([]string, error) {
	found, err := resolver.LookupIP(ctx, network, name)
	out := make([]string, 0, len(found))
	for _, ip := range found {
		out = append(out, ip.String())
	}
	return out, err
}

func once(operation, argument string) (string, []string) {
	ctx := context.Background()
	var answer []string
	var err error
	switch operation {
	case "any":
		answer, err = addresses(ctx, "ip", argument)
	case "v4":
		answer, err = addresses(ctx, "ip4", argument)
	case "v6":
		answer, err = addresses(ctx, "ip6", argument)
	case "ptr":
		answer, err = resolver.LookupAddr(ctx, argument)
	case "type15":
		_, err = resolver.LookupMX(ctx, argument)
	case "type16":
		_, err = resolver.LookupTXT(ctx, argument)
	case "type33":
		_, _, err = resolver.LookupSRV(ctx, "", "", argument)
	default:
		err = errors.New("operation?")
	}
	if err == nil {
		return "ok", answer
	}
	var failure *net.DNSError
	switch {
	case !errors.As(err, &failure):
		return strings.ReplaceAll(err.Error(), " ", "_"), nil
	case failure.IsNotFound:
		return "nosuch", nil
	case failure.IsTimeout:
		return "timeout", nil // nobody answered in time: not what "again" means here
	case failure.IsTemporary:
		return "again", nil
	}
	return strings.ReplaceAll(err.Error(), " ", "_"), nil
}

func run(row, operation, argument string) string {
	start := time.Now()
	verdict, answer := once(operation, argument)
	first := time.Since(start)
	best := first
	for i := 1; i < 3 && time.Since(start) < time.Second; i++ {
		again := time.Now()
		more, _ := once(operation, argument)
		if took := time.Since(again); took < best {
			best = took
		}
		if more != verdict {
			verdict = "mixed"
		}
	}
	return fmt.Sprintf("%s %s %.1f %.1f %s", row, verdict, first.Seconds()*1e3, best.Seconds()*1e3, strings.Join(answer, " "))
}

func main() {
	var lock sync.Mutex
	var all sync.WaitGroup
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		all.Add(1)
		go func() {
			defer all.Done()
			line := run(fields[0], fields[1], fields[2])
			lock.Lock()
			defer lock.Unlock()
			fmt.Println(line)
		}()
	}
	all.Wait()
}
