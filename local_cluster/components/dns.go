package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"

	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/kubernetes"
)

// runDNS runs CoreDNS with the three plugins a cluster needs: the whole of it
// would link every cloud's SDK.
func runDNS() int {
	dnsserver.Directives = []string{"errors", "kubernetes", "forward"}
	coremain.Run()
	return 0
}
