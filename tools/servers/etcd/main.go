// etcd 3.6 for tests, built from its published module: Debian has 3.4, and both must work.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
