// Command coredns is CoreDNS with only the plugins a test node needs; the cloud SDKs of the full list stay out.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"

	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/log"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/template"
)

func main() {
	// A query passes the plugins in this order: template answers what is outside the cluster, so it comes last.
	dnsserver.Directives = []string{"health", "ready", "log", "errors", "kubernetes", "template"}
	coremain.Run()
}
